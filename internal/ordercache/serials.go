package ordercache

import (
	"sync"

	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// SerialIndex finds cached orders by the serial numbers of their certificates. It takes less memory than an index of the
// cache, which stores a set of objects for each value. The zero value is empty and ready to use. Handler connects it to an
// informer.
type SerialIndex struct {
	mu    sync.RWMutex
	names map[serialKey]string
}

// serialKey shares its strings with the cached order.
type serialKey struct{ namespace, serial string }

// Find returns the name of the order in a namespace whose status.serial is the given serial number.
func (i *SerialIndex) Find(namespace, serial string) (name string, found bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	name, found = i.names[serialKey{namespace, serial}]
	return name, found
}

// Handler returns an event handler that keeps the index up to date with an informer of orders.
func (i *SerialIndex) Handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { i.add(object) },
		UpdateFunc: func(_, object any) { i.add(object) },
		DeleteFunc: i.remove,
	}
}

func (i *SerialIndex) add(object any) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok || order.Status.Serial == "" {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.names == nil {
		i.names = map[serialKey]string{}
	}
	i.names[serialKey{order.Namespace, order.Status.Serial}] = order.Name
}

func (i *SerialIndex) remove(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if key := (serialKey{order.Namespace, order.Status.Serial}); i.names[key] == order.Name {
		delete(i.names, key)
	}
}
