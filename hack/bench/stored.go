package main

import (
	"context"
	"fmt"
	"time"

	"github.com/acmeca/acmeca/hack/bench/report"
)

// stock is an acmeca with finished orders stored.
type stock struct {
	*site
	orders int
	// These are the bytes on the heaps before the orders were stored.
	controllers, server float64
	// starts are the seconds of each start.
	starts []float64
	// These are the bytes of memory for an order.
	controllerBytes, serverBytes float64
}

// measureStored measures acmecas with many finished orders stored, in turns: the earlier build with the first number of orders, and
// this build with each number.
func (b *bench) measureStored(ctx context.Context) error {
	var stocks []*stock
	defer func() {
		for _, s := range stocks {
			s.stop()
		}
	}()
	add := func(name string, orders int, start func(context.Context, string) (*site, error)) error {
		s, err := start(ctx, fmt.Sprintf("%s with %d orders", name, orders))
		if err != nil {
			return err
		}
		k := &stock{site: s, orders: orders}
		stocks = append(stocks, k)
		fmt.Fprintf(b.out, "storing %d orders\n", orders)
		return k.fill(ctx)
	}
	for _, orders := range b.options.orders {
		if err := add(oursName, orders, b.startOurs); err != nil {
			return err
		}
	}
	ours := stocks
	var old *stock
	if err := add(earlierName, b.options.orders[0], b.startEarlier); err != nil {
		b.leaveOut(earlierName, err)
	} else {
		old = stocks[len(stocks)-1]
	}
	for round := range b.options.rounds {
		fmt.Fprintf(b.out, "round %d of %d\n", round+1, b.options.rounds)
		for _, s := range stocks {
			if err := s.restart(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if old != nil {
		if err := old.settle(ctx); err != nil {
			return fmt.Errorf("%s: %w", old.name, err)
		}
		old.plane.Stop()
	}
	renewals, err := b.measureRenewals(ctx, ours)
	if err != nil {
		return err
	}
	b.add(append(storedRows(ours, old), renewals...)...)
	return b.measureFailovers(ctx, ours[0], old)
}

// fill stops both halves and stores orders like one that is issued before.
func (s *stock) fill(ctx context.Context) error {
	if _, err := s.begin(ctx, report.One); err != nil {
		return err
	}
	like, err := s.plane.Issued(ctx)
	if err != nil {
		return err
	}
	if s.controllers, s.server, err = s.plane.Heaps(ctx); err != nil {
		return err
	}
	s.plane.Stop()
	return s.plane.Seed(ctx, like, 0, s.orders, 0, "")
}

// restart starts both halves, and measures the time until they are ready. Then it stops them, so that they do not slow others down.
func (s *stock) restart(ctx context.Context) error {
	begun := time.Now()
	if err := s.plane.StartHalves(ctx); err != nil {
		return err
	}
	s.starts = append(s.starts, time.Since(begun).Seconds())
	s.plane.Stop()
	return ctx.Err()
}

// storedRows returns the figures of stored orders. old is nil if the earlier build is left out.
func storedRows(ours []*stock, old *stock) []report.Row {
	first, last := ours[0], ours[len(ours)-1]
	memory := func(half string, bytes float64) report.Row {
		return report.Row{What: "memory of the " + half + " for a stored finished order", Unit: "bytes", AtMost: 64, Rounds: []float64{bytes}}
	}
	server, controllers := memory("ACME server", last.serverBytes), memory("controllers", last.controllerBytes)
	rows := []report.Row{}
	if old != nil {
		server.Note = earlierName + ": " + report.Quantity(old.serverBytes, "bytes")
		controllers.Note = earlierName + ": " + report.Quantity(old.controllerBytes, "bytes")
		rows = append(rows, report.Row{What: fmt.Sprintf("start to ready with %d orders / %s", first.orders, earlierName), AtMost: 0.2,
			Rounds: report.Ratios(first.starts, old.starts), Note: medians(first.starts, old.starts, "s")})
	}
	if old != nil && last != first {
		rows = append(rows, report.Row{What: fmt.Sprintf("start to ready with %d orders / %s with %d", last.orders, earlierName, old.orders),
			AtMost: 0.26, Rounds: report.Ratios(last.starts, old.starts), Note: medians(last.starts, old.starts, "s")})
	}
	if last != first {
		rows = append(rows, report.Row{What: fmt.Sprintf("start to ready with %d orders / with %d", last.orders, first.orders), AtMost: 1.3,
			Rounds: report.Ratios(last.starts, first.starts), Note: medians(last.starts, first.starts, "s")})
	}
	return append([]report.Row{server, controllers}, rows...)
}
