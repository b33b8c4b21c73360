package store

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxRemovals bounds the removed objects that are remembered.
const maxRemovals = 256

// removals remembers the latest removed objects in their last state. An API answer about an object may be processed after
// the news that the object is gone.
type removals[T client.Object] struct {
	ring []T
	next int
}

func (r *removals[T]) add(object T) {
	if len(r.ring) < maxRemovals {
		r.ring = append(r.ring, object)
		return
	}
	r.ring[r.next] = object
	r.next = (r.next + 1) % len(r.ring)
}

func (r *removals[T]) find(uid types.UID) (last T, ok bool) {
	i := slices.IndexFunc(r.ring, func(object T) bool { return uid != "" && object.GetUID() == uid })
	if i < 0 {
		return last, false
	}
	return r.ring[i], true
}
