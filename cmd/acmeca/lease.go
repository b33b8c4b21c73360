package main

import (
	"context"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	leaseName = "controller.acmeca.dev"
	// leaseDuration is how long after its last renewal another replica takes the Lease. It is short, since two leaders at once
	// do no harm: the API server refuses the second write of a decision, and a certificate that is signed twice is the same.
	leaseDuration = 3 * time.Second
	// leaseRetry is the time between two renewals, and the least time between two tries to take the Lease.
	leaseRetry = 500 * time.Millisecond
	// renewDeadline is how long a leader works on without a renewal, for example while the API server does not answer.
	renewDeadline = 10 * time.Second
	// leaderDuration is the duration that the leader itself assumes. client-go requires that it is longer than renewDeadline.
	leaderDuration = 15 * time.Second
)

// elect makes the manager run its controllers in one replica at a time.
func elect(o *ctrl.Options, config *rest.Config, namespace string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	identity := resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())}
	// A request ends after half of leaseDuration, so that the next one is in time.
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, leaseName, identity, config, leaseDuration)
	if err != nil {
		return err
	}
	o.LeaderElection, o.LeaderElectionID, o.LeaderElectionReleaseOnCancel = true, leaseName, true
	o.LeaderElectionResourceLockInterface = shortLease{lock}
	o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = new(leaderDuration), new(renewDeadline), new(leaseRetry)
	return nil
}

// shortLease is a lock that other replicas take after leaseDuration.
type shortLease struct{ resourcelock.Interface }

// Create implements resourcelock.Interface.
func (s shortLease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return s.Interface.Create(ctx, shorten(record))
}

// Update implements resourcelock.Interface.
func (s shortLease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return s.Interface.Update(ctx, shorten(record))
}

// shorten returns a record that lasts leaseDuration, unless it ends sooner: a leader that ends releases its Lease.
func shorten(record resourcelock.LeaderElectionRecord) resourcelock.LeaderElectionRecord {
	record.LeaseDurationSeconds = min(record.LeaseDurationSeconds, int(leaseDuration.Seconds()))
	return record
}
