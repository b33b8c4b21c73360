package store

import (
	"context"
	"time"
)

// slotQueue is how long a request waits for a slot.
const slotQueue = 2 * time.Second

// waitForSlot takes a slot, which the request frees by done. The error is ErrBusy.
func waitForSlot(ctx context.Context, slots chan struct{}, kind string) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, slotQueue)
	defer cancel()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, &Error{Kind: kind, Reason: ErrBusy}
	}
}

// startSearch takes a slot for a list of orders. The requests of one namespace leave a slot to others, and wait among themselves.
func (s *Store) startSearch(ctx context.Context, namespace string) (done func(), err error) {
	inNamespace, _ := s.searching.LoadOrStore(namespace, make(chan struct{}, maxNamespaceSearches)) // few namespaces have issuers
	leave, err := waitForSlot(ctx, inNamespace.(chan struct{}), orders.String())
	if err != nil {
		return nil, err
	}
	end, err := waitForSlot(ctx, s.searches, orders.String())
	if err != nil {
		leave()
		return nil, err
	}
	return func() {
		end()
		leave()
	}, nil
}

// maxLists bounds the lists of objects in use. A list copies its objects, and a client can have thousands of them.
const maxLists = 16

// StartList waits until a request may list objects. The request calls done after it has used them. The error is ErrBusy.
func (s *Store) StartList(ctx context.Context) (done func(), err error) {
	return waitForSlot(ctx, s.listing, "list")
}
