package main

import (
	"context"
	"testing"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// recordingLock is a lock that keeps the last written record.
type recordingLock struct {
	resourcelock.Interface
	record resourcelock.LeaderElectionRecord
}

func (l *recordingLock) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	l.record = record
	return nil
}

func (l *recordingLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.Create(ctx, record)
}

// The leader counts on leaderDuration, and the other replicas on what is stored.
func TestLeasesAreStoredShort(t *testing.T) {
	for name, test := range map[string]struct{ seconds, want int }{
		"held":     {int(leaderDuration.Seconds()), int(leaseDuration.Seconds())},
		"released": {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			record := resourcelock.LeaderElectionRecord{HolderIdentity: "me", LeaseDurationSeconds: test.seconds}
			want := record
			want.LeaseDurationSeconds = test.want
			for verb, write := range map[string]func(shortLease, context.Context, resourcelock.LeaderElectionRecord) error{
				"create": shortLease.Create, "update": shortLease.Update,
			} {
				stored := &recordingLock{}
				if err := write(shortLease{stored}, t.Context(), record); err != nil || stored.record != want {
					t.Errorf("%s: %+v, %v", verb, stored.record, err)
				}
			}
		})
	}
}
