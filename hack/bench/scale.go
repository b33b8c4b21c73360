package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

// Scale is the effect of many stored orders.
type Scale struct {
	Orders int `json:"orders"`
	// StoredBytes is the size of one order in etcd.
	StoredBytes int `json:"storedBytesPerOrder"`
	// StartSeconds is the time from the start of the controllers and the ACME server until both and the issuer are
	// ready.
	StartSeconds float64 `json:"startToReadySeconds"`
	// These are the bytes on the heap for each stored order.
	ControllerBytes float64 `json:"controllerBytesPerOrder"`
	ServerBytes     float64 `json:"serverBytesPerOrder"`
}

// measureScale measures an acmeca with many orders stored, beside an acmeca with none.
func (b *bench) measureScale(ctx context.Context) error {
	full, empty := newBench(b.options, b.out), newBench(b.options, b.out)
	stopFull, err := full.start(ctx)
	if err != nil {
		return err
	}
	defer stopFull()
	if _, err := full.begin(ctx, one); err != nil { // stores an order as a template for the others
		return err
	}
	if b.report.Scale, err = full.plane.scale(ctx, b.options.orders, b.out); err != nil {
		return err
	}
	stopEmpty, err := empty.start(ctx)
	if err != nil {
		return err
	}
	defer stopEmpty()
	return b.besideAnEmptyStore(ctx, full, empty)
}

// scale stops a fresh operator, stores orders, starts the operator again, and measures.
func (p *plane) scale(ctx context.Context, orders int, out io.Writer) (*Scale, error) {
	like, err := p.issued(ctx)
	if err != nil {
		return nil, err
	}
	heap := func() (controllers, server float64, err error) {
		controllers, err1 := heapOf(ctx, p.controllers)
		server, err2 := heapOf(ctx, p.server)
		return controllers, server, errors.Join(err1, err2)
	}
	controllersBefore, serverBefore, err := heap()
	if err != nil {
		return nil, err
	}
	p.stopReplicas()
	p.local.StopOperator()
	fmt.Fprintf(out, "storing %d orders\n", orders)
	if err := p.seed(ctx, like, orders, 0, ""); err != nil {
		return nil, err
	}
	stored, err := json.Marshal(like)
	if err != nil {
		return nil, err
	}
	s := &Scale{Orders: orders, StoredBytes: len(stored)}
	start := time.Now()
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	s.StartSeconds = time.Since(start).Seconds()
	// The memory that only the start needed is freed by now.
	controllers, server, err := heap()
	s.ControllerBytes, s.ServerBytes = (controllers-controllersBefore)/float64(orders), (server-serverBefore)/float64(orders)
	return s, err
}

// start starts both halves at once, as a cluster does.
func (p *plane) start(ctx context.Context) error {
	var both errgroup.Group
	both.Go(func() error { return p.local.StartOperator(ctx) })
	both.Go(func() error { return p.startReplicas(ctx, 1) })
	return both.Wait()
}
