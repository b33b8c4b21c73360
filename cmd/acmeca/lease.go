package main

import (
	"context"
	"os"
	"sync/atomic"
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

// elect makes the manager run its controllers in one replica at a time. leads reports that no other replica can have taken the Lease.
func elect(o *ctrl.Options, config *rest.Config, namespace string) (leads func() bool, err error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	identity := resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())}
	// A request ends after half of leaseDuration, so that the next one is in time.
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, leaseName, identity, config, leaseDuration)
	if err != nil {
		return nil, err
	}
	lease := &shortLease{Interface: lock}
	o.LeaderElection, o.LeaderElectionID, o.LeaderElectionReleaseOnCancel = true, leaseName, true
	o.LeaderElectionResourceLockInterface = lease
	o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = new(leaderDuration), new(renewDeadline), new(leaseRetry)
	return lease.held, nil
}

// shortLease is a lock that other replicas take after leaseDuration.
type shortLease struct {
	resourcelock.Interface
	// renewed is when the last renewal that succeeded began.
	renewed atomic.Pointer[time.Time]
}

// Create implements resourcelock.Interface.
func (s *shortLease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return s.write(ctx, record, s.Interface.Create)
}

// Update implements resourcelock.Interface.
func (s *shortLease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return s.write(ctx, record, s.Interface.Update)
}

func (s *shortLease) write(
	ctx context.Context, record resourcelock.LeaderElectionRecord, write func(context.Context, resourcelock.LeaderElectionRecord) error,
) error {
	begun := time.Now()
	err := write(ctx, shorten(record))
	switch {
	case record.HolderIdentity == "": // it is released
		s.renewed.Store(nil)
	case err == nil:
		s.renewed.Store(&begun)
	}
	return err
}

// held reports that this replica has the Lease, and that no other one can have taken it.
func (s *shortLease) held() bool {
	renewed := s.renewed.Load()
	return renewed != nil && time.Since(*renewed) < leaseDuration
}

// shorten returns a record that lasts leaseDuration, unless it ends sooner: a leader that ends releases its Lease.
func shorten(record resourcelock.LeaderElectionRecord) resourcelock.LeaderElectionRecord {
	record.LeaseDurationSeconds = min(record.LeaseDurationSeconds, int(leaseDuration.Seconds()))
	return record
}
