package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// recordingLock is a lock that keeps the last written record.
type recordingLock struct {
	resourcelock.Interface
	record resourcelock.LeaderElectionRecord
	takes  time.Duration // of a write
	err    error
}

func (l *recordingLock) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	l.record = record
	time.Sleep(l.takes)
	return l.err
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
			for verb, write := range map[string]func(*shortLease, context.Context, resourcelock.LeaderElectionRecord) error{
				"create": (*shortLease).Create, "update": (*shortLease).Update,
			} {
				stored := &recordingLock{}
				if err := write(&shortLease{Interface: stored}, t.Context(), record); err != nil || stored.record != want {
					t.Errorf("%s: %+v, %v", verb, stored.record, err)
				}
			}
		})
	}
}

// Another replica waits for leaseDuration after the last renewal that it has seen.
func TestALeaseIsHeldUntilAnotherReplicaCanTakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := &recordingLock{takes: time.Second}
		lease := &shortLease{Interface: stored}
		expect := func(when string, held bool) {
			t.Helper()
			if lease.held() != held {
				t.Errorf("%s: held %t, want %t", when, !held, held)
			}
		}
		mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
		expect("before it is taken", false)
		_ = lease.Create(t.Context(), mine)
		expect("taken", true)
		time.Sleep(leaseDuration - stored.takes - time.Nanosecond)
		expect("shortly before it expires", true)
		time.Sleep(time.Nanosecond)
		expect("expired", false)
		stored.err = errors.New("down")
		_ = lease.Update(t.Context(), mine)
		expect("not renewed", false)
		stored.err = nil
		_ = lease.Update(t.Context(), mine)
		expect("renewed", true)
		_ = lease.Update(t.Context(), resourcelock.LeaderElectionRecord{})
		expect("released", false)
	})
}
