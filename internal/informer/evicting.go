package informer

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// eviction returns the object of the event that removes an order from the cache although the API server has the order. Unlike every
// stored order, it has no UID.
func eviction(name types.NamespacedName, version string) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.ResourceVersion = name.Namespace, name.Name, version
	return order
}

func isEviction(object any) bool {
	order, ok := object.(*v1alpha1.AcmeOrder)
	return ok && order.UID == ""
}

// evicting returns the informer with event handlers that do not hear of evictions. They hear of each change of a finished order as of an
// order that is added, and of its deletion.
func evicting(informer toolscache.SharedIndexInformer, m *members) toolscache.SharedIndexInformer {
	return evictor{informer, m}
}

type evictor struct {
	toolscache.SharedIndexInformer
	members *members
}

// IsAhead reports whether an order was read after the last list began. Events about other orders, up to its version, are still to come.
func (i evictor) IsAhead(order client.Object) bool { return i.members.isAhead(order) }

// AddEventHandler implements toolscache.SharedInformer.
func (i evictor) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.SharedIndexInformer.AddEventHandler(deaf{h})
}

// AddEventHandlerWithResyncPeriod implements toolscache.SharedInformer.
func (i evictor) AddEventHandlerWithResyncPeriod(
	h toolscache.ResourceEventHandler, resync time.Duration,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.SharedIndexInformer.AddEventHandlerWithResyncPeriod(deaf{h}, resync)
}

// AddEventHandlerWithOptions implements toolscache.SharedInformer.
func (i evictor) AddEventHandlerWithOptions(
	h toolscache.ResourceEventHandler, o toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.SharedIndexInformer.AddEventHandlerWithOptions(deaf{h}, o)
}

// deaf is an event handler that does not hear of evictions.
type deaf struct {
	toolscache.ResourceEventHandler
}

// OnDelete implements toolscache.ResourceEventHandler.
func (d deaf) OnDelete(object any) {
	if !isEviction(object) {
		d.ResourceEventHandler.OnDelete(object)
	}
}
