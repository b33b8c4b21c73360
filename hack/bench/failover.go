package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
)

// measureFailovers kills the leader of the controllers, of this build and of the earlier one in turns. old may be nil.
func (b *bench) measureFailovers(ctx context.Context, ours, old *stock) error {
	measured := map[*stock]*[]float64{ours: {}, old: {}}
	for round := range b.options.rounds {
		fmt.Fprintf(b.out, "round %d of %d: killing the leader\n", round+1, b.options.rounds)
		for _, s := range []*stock{ours, old} {
			if s == nil {
				continue
			}
			took, err := s.failOver(ctx, b.options.poll)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			*measured[s] = append(*measured[s], took.Seconds())
		}
	}
	row := report.Row{What: fmt.Sprintf("leader killed to the next certificate, %d orders stored", ours.orders), Unit: "s", AtMost: 5,
		Rounds: *measured[ours]}
	if old != nil {
		row.Note = earlierName + ": " + report.Quantity(report.SpreadOf(*measured[old]).Median, "s")
	}
	b.add(row)
	return nil
}

// failOver starts two controllers, kills the leader, and returns the time until a certificate is issued whose order came after that.
func (s *stock) failOver(ctx context.Context, poll time.Duration) (time.Duration, error) {
	if err := s.plane.StartReplicas(ctx, 1); err != nil {
		return 0, err
	}
	defer s.plane.StopReplicas()
	leader, err := s.plane.StartControllers(ctx)
	if err != nil {
		return 0, err
	}
	defer leader.Kill()
	if err := leader.AwaitLead(ctx); err != nil {
		return 0, err
	}
	standby, err := s.plane.StartControllers(ctx)
	if err != nil {
		return 0, err
	}
	defer standby.Stop()
	s.target.Service = load.NewService(s.plane.Addresses()...)
	client, err := s.target.Register(ctx, 0)
	if err != nil {
		return 0, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	if _, err := client.Issue(ctx, key, load.FreshNames(1, ".bench.test")...); err != nil {
		return 0, err
	}
	client.MaxPoll = 10 * poll
	leader.Kill()
	killed := time.Now()
	_, err = client.Issue(ctx, key, load.FreshNames(1, ".bench.test")...)
	return time.Since(killed), errors.Join(err, ctx.Err())
}
