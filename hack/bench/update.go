package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/acmeca/acmeca/hack/bench/acmeca"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/test/local"
)

const (
	// updateReplicas is the number of replicas of each half.
	updateReplicas = 2
	// updateRate is the number of certificates that clients request a second.
	updateRate = 5
	// updateClients is the number of clients that request them.
	updateClients = 16
	// notReadyAfter is the time until a Service stops sending requests to a replica that was asked to end.
	notReadyAfter = 200 * time.Millisecond
)

// measureUpdates replaces all replicas of both halves under a load, as rolling updates of two Deployments do.
func (b *bench) measureUpdates(ctx context.Context) error {
	s, err := b.startOurs(ctx, oursName)
	if err != nil {
		return err
	}
	defer s.stop()
	u := &update{site: s}
	defer u.stop()
	if err := u.start(ctx); err != nil {
		return err
	}
	p99 := report.Row{What: "p99 of issuance during a rolling update of both Deployments", Unit: "ms", AtMost: 3000}
	failed := report.Row{What: "certificates that failed during a rolling update of both Deployments", None: true}
	certificates, calm := 0, []float64(nil)
	for round := range b.options.rounds {
		fmt.Fprintf(b.out, "round %d of %d: rolling update\n", round+1, b.options.rounds)
		before, err := u.calm(ctx, b.options.length)
		if err != nil {
			return err
		}
		result, err := u.roll(ctx)
		if err != nil {
			return err
		}
		calm = append(calm, before.P99)
		if result.FirstFailure != "" {
			failed.Note = result.FirstFailure
		}
		p99.Rounds, failed.Rounds = append(p99.Rounds, result.P99), append(failed.Rounds, float64(result.Failures))
		certificates += result.Certificates
	}
	p99.Note = fmt.Sprintf("%d certificates, %d a second; %s without an update", certificates, updateRate,
		report.Quantity(report.SpreadOf(calm).Median, "ms"))
	b.add(p99, failed)
	return nil
}

// update is an acmeca whose halves have two replicas each.
type update struct {
	*site
	replicas    []*local.Replica
	controllers []*acmeca.Controllers
}

func (u *update) start(ctx context.Context) error {
	u.plane.Stop() // the halves so far have one replica
	u.target.Service = load.NewService()
	for range updateReplicas {
		if err := u.addControllers(ctx); err != nil {
			return err
		}
		if err := u.addReplica(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (u *update) stop() {
	for _, r := range u.replicas {
		r.Stop()
	}
	for _, c := range u.controllers {
		c.Stop()
	}
}

func (u *update) addControllers(ctx context.Context) error {
	c, err := u.plane.StartControllers(ctx)
	if err == nil {
		u.controllers = append(u.controllers, c)
	}
	return err
}

// addReplica starts a replica of the ACME server. The Service has it once it is ready.
func (u *update) addReplica(ctx context.Context) error {
	r, err := u.plane.Local.StartReplica(ctx)
	if err == nil {
		u.replicas = append(u.replicas, r)
		u.target.Service.Add(r.Address)
	}
	return err
}

// session registers the clients. It measures no usage, because the processes change.
func (u *update) session(ctx context.Context) (*load.Session, error) {
	do := load.Task{Of: "rolling update", Clients: updateClients, Names: 1, Rate: updateRate}
	return u.target.Begin(ctx, do, func() func() (load.Usage, error) {
		return func() (load.Usage, error) { return load.Usage{}, nil }
	})
}

// calm returns the same load without an update.
func (u *update) calm(ctx context.Context, length time.Duration) (load.Result, error) {
	session, err := u.session(ctx)
	if err != nil {
		return load.Result{}, err
	}
	if err := session.Drive(ctx, length); err != nil {
		return load.Result{}, err
	}
	return session.Result()
}

// roll updates both Deployments at the same time, and returns the load meanwhile.
func (u *update) roll(ctx context.Context) (load.Result, error) {
	session, err := u.session(ctx)
	if err != nil {
		return load.Result{}, err
	}
	updated := make(chan struct{})
	var both errgroup.Group
	both.Go(func() error {
		defer close(updated)
		var deployments errgroup.Group
		deployments.Go(func() error { return u.rollControllers(ctx) })
		deployments.Go(func() error { return u.rollReplicas(ctx) })
		return deployments.Wait()
	})
	both.Go(func() error { return session.DriveUntil(ctx, updated) })
	if err := both.Wait(); err != nil {
		return load.Result{}, err
	}
	return session.Result()
}

// rollControllers starts a replacement before it ends a process, as a Deployment does (maxSurge: 1, maxUnavailable: 0).
func (u *update) rollControllers(ctx context.Context) error {
	for range updateReplicas {
		if err := u.addControllers(ctx); err != nil {
			return err
		}
		u.controllers[0].Stop()
		u.controllers = u.controllers[1:]
	}
	return nil
}

// rollReplicas starts a replacement before it ends a replica. The Service notices the end a little later.
func (u *update) rollReplicas(ctx context.Context) error {
	for range updateReplicas {
		if err := u.addReplica(ctx); err != nil {
			return err
		}
		oldest := u.replicas[0]
		u.replicas = u.replicas[1:]
		noticed := time.AfterFunc(notReadyAfter, func() { u.target.Service.Remove(oldest.Address) })
		oldest.Stop()
		noticed.Stop()
		u.target.Service.Remove(oldest.Address)
	}
	return nil
}
