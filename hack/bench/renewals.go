package main

import (
	"context"
	"fmt"

	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
)

// settle starts both halves, waits until they have walked the stored orders, and measures their memory.
func (s *stock) settle(ctx context.Context) error {
	if err := s.plane.StartHalves(ctx); err != nil {
		return err
	}
	if err := s.plane.AwaitNoList(ctx); err != nil {
		return err
	}
	controllers, server, err := s.plane.Heaps(ctx)
	s.controllerBytes = max(0, controllers-s.controllers) / float64(s.orders)
	s.serverBytes = max(0, server-s.server) / float64(s.orders)
	return err
}

// measureRenewals settles the stocks, and measures the control plane's cost of a renewal that names the replaced certificate, in turns.
func (b *bench) measureRenewals(ctx context.Context, stocks []*stock) (rows []report.Row, err error) {
	renewals := load.Task{Of: "renewals", Clients: 16, Names: 1, Renew: true}
	sessions, costs := make([]*load.Session, len(stocks)), make([][]float64, len(stocks))
	for i, s := range stocks {
		fmt.Fprintf(b.out, "waiting until %s has walked them\n", s.name)
		if err := s.settle(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		defer s.plane.Stop()
		s.target.Service = load.NewService(s.plane.Addresses()...)
		if sessions[i], err = s.begin(ctx, renewals); err != nil {
			return nil, err
		}
	}
	last := len(stocks) - 1
	lists, err := stocks[last].plane.Lists(ctx)
	if err != nil {
		return nil, err
	}
	for round := range b.options.rounds {
		fmt.Fprintf(b.out, "round %d of %d: renewals\n", round+1, b.options.rounds)
		for i, session := range sessions {
			if err := session.Drive(ctx, b.options.length); err != nil {
				return nil, err
			}
			result, err := session.Last()
			if err != nil {
				return nil, err
			}
			costs[i] = append(costs[i], result.PlaneCPU)
		}
	}
	now, err := stocks[last].plane.Lists(ctx)
	rows = append(rows, report.Row{What: fmt.Sprintf("lists of orders during renewals, %d orders stored", stocks[last].orders), None: true,
		Rounds: []float64{now - lists}})
	if last > 0 {
		rows = append(rows, report.Row{
			What:   fmt.Sprintf("control plane CPU for a renewal with %d orders / with %d", stocks[last].orders, stocks[0].orders),
			AtMost: 1.1, Rounds: report.Ratios(costs[last], costs[0]), Note: medians(costs[last], costs[0], "ms"),
		})
	}
	return rows, err
}
