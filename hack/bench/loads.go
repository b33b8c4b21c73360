package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/bench/acmeca"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/test/local"
)

// loadRounds is the number of rounds that a load of acmeca alone takes in one piece.
const loadRounds = 2

// measureLoads measures this build alone: renewals, an open loop, replicas and shards.
func (b *bench) measureLoads(ctx context.Context) error {
	b.report.Loads, b.report.RawWrites = nil, 0
	s, err := b.startOurs(ctx, oursName)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := b.loads(ctx, s, report.One, report.ManyNames, report.Some); err != nil {
		return err
	}
	if err := b.besideRawWrites(ctx, s, report.Most); err != nil {
		return err
	}
	if err := b.loads(ctx, s,
		load.Task{Of: "renewals", Clients: 16, Names: 1, Renew: true},
		load.Task{Of: "half of that rate, open loop", Clients: 64, Names: 1, Rate: b.report.Of(report.Some).Rate / 2},
	); err != nil {
		return err
	}
	for replicas := 2; replicas <= 3; replicas++ {
		if err := s.plane.StartReplicas(ctx, replicas); err != nil {
			return err
		}
		s.target.Service = nil // for all replicas
		if err := b.loads(ctx, s, report.Some); err != nil {
			return err
		}
	}
	return b.sharded(ctx, s)
}

// loads runs loads one after the other.
func (b *bench) loads(ctx context.Context, s *site, tasks ...load.Task) error {
	for _, do := range tasks {
		session, err := s.begin(ctx, do)
		if err == nil {
			err = session.Drive(ctx, loadRounds*b.options.length)
		}
		if err == nil {
			err = b.addLoad(session)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", do, err)
		}
	}
	return nil
}

// addLoad adds a load to the report.
func (b *bench) addLoad(session *load.Session) error {
	l, err := session.Result()
	if err != nil {
		return err
	}
	b.report.Loads = append(b.report.Loads, l)
	fmt.Fprintf(b.out, "%s, %d clients, %d names: %.1f certificates/s\n", l.Of, l.Clients, l.Names, l.Rate)
	return nil
}

// besideRawWrites runs a load, and raw writes before and after it.
func (b *bench) besideRawWrites(ctx context.Context, s *site, do load.Task) error {
	session, err := s.begin(ctx, do)
	if err != nil {
		return err
	}
	someone, err := s.target.Register(ctx, 0)
	if err != nil {
		return err
	}
	raw := &rawWrites{plane: s.plane, account: path.Base(someone.URL()), writers: do.Clients}
	length := loadRounds * b.options.length
	if err := errors.Join(raw.drive(ctx, length/2), session.Drive(ctx, length), raw.drive(ctx, length/2)); err != nil {
		return err
	}
	b.report.RawWrites = raw.rate()
	return b.addLoad(session)
}

// rawWrites stores authorizations from concurrent writers and does nothing else. Its rate is an upper bound for all
// loads. The authorizations belong to an account and have no response, so the controllers only read them from their
// cache.
type rawWrites struct {
	plane   *acmeca.Plane
	account string
	writers int

	written atomic.Int64
	took    time.Duration
}

func (r *rawWrites) drive(ctx context.Context, length time.Duration) error {
	var work errgroup.Group
	start := time.Now()
	for range r.writers {
		work.Go(func() error {
			for time.Since(start) < length {
				authz := &v1alpha1.AcmeAuthorization{
					ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: fmt.Sprintf("raw-%d", r.written.Add(1))},
					Spec: v1alpha1.AcmeAuthorizationSpec{
						IssuerRef: v1alpha1.ObjectRef{Name: "default"}, AccountRef: v1alpha1.ObjectRef{Name: r.account},
						Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "raw.bench.test"},
						Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("t", 43)}},
					},
				}
				if err := r.plane.Objects.Create(ctx, authz); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := work.Wait()
	r.took += time.Since(start)
	return err
}

// rate returns the writes a second.
func (r *rawWrites) rate() float64 { return float64(r.written.Load()) / r.took.Seconds() }
