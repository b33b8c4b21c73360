// Package serial finds orders in a cache by the serial numbers of their certificates, in less memory than the cache's own
// indexes take for values that no two objects share. It knows no more of an order than its name and serial number.
package serial

import (
	"sync"

	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Index of orders. The zero value is empty and ready; it follows the cache whose informer it is added to as a handler.
type Index struct {
	mu    sync.RWMutex
	names map[key]string
}

// key shares its text with the cached order.
type key struct{ namespace, serial string }

// Find gives the name of the order in a namespace whose certificate has the serial number, written as status.serial is.
func (i *Index) Find(namespace, serial string) (name string, found bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	name, found = i.names[key{namespace, serial}]
	return name, found
}

// Handler keeps the index up to date with an informer of orders.
func (i *Index) Handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { i.add(object) },
		UpdateFunc: func(_, object any) { i.add(object) },
		DeleteFunc: i.remove,
	}
}

func (i *Index) add(object any) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok || order.Status.Serial == "" {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.names == nil {
		i.names = map[key]string{}
	}
	i.names[key{order.Namespace, order.Status.Serial}] = order.Name
}

func (i *Index) remove(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if k := (key{order.Namespace, order.Status.Serial}); i.names[k] == order.Name {
		delete(i.names, k)
	}
}
