package ordercache

import (
	"time"

	toolscache "k8s.io/client-go/tools/cache"
)

// WrapHandlers returns an informer that adds each event handler as wrap returns it.
func WrapHandlers(
	of toolscache.SharedIndexInformer, wrap func(toolscache.ResourceEventHandler) toolscache.ResourceEventHandler,
) toolscache.SharedIndexInformer {
	return &wrapping{of, wrap}
}

type wrapping struct {
	toolscache.SharedIndexInformer
	wrap func(toolscache.ResourceEventHandler) toolscache.ResourceEventHandler
}

// AddEventHandler implements toolscache.SharedInformer.
func (i *wrapping) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.SharedIndexInformer.AddEventHandler(i.wrap(h))
}

// AddEventHandlerWithResyncPeriod implements toolscache.SharedInformer.
func (i *wrapping) AddEventHandlerWithResyncPeriod(
	h toolscache.ResourceEventHandler, resync time.Duration,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.SharedIndexInformer.AddEventHandlerWithResyncPeriod(i.wrap(h), resync)
}

// AddEventHandlerWithOptions implements toolscache.SharedInformer.
func (i *wrapping) AddEventHandlerWithOptions(
	h toolscache.ResourceEventHandler, o toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.SharedIndexInformer.AddEventHandlerWithOptions(i.wrap(h), o)
}
