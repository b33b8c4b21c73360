package authorization

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/pool"
)

// alwaysValid is a Checker that finds every proof.
type alwaysValid struct{}

func (alwaysValid) Validate(context.Context, validation.Request) validation.Result {
	return validation.Result{Valid: true}
}

func (alwaysValid) CheckCAA(context.Context, validation.Request) validation.Result {
	return validation.Result{Valid: true}
}

// The result of an attempt counts from the end of the attempt, and by the CAA rule of then, also if it is processed much later,
// as for a suspended issuer.
func TestAResultCountsFromTheEndOfItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := pool.New(pool.Config{})
		t.Cleanup(pool.Close)
		r := &Reconciler{Attempts: attempts.New(pool, clock.RealClock{}, make(chan event.GenericEvent, 10))}
		w := newWorld(t)
		w.issuer.Validator = alwaysValid{}
		w.issuer.Spec.Validation.CAA = v1alpha1.CAAOff
		authz := w.accepted(t)
		r.Attempts.Start(w.issuer, w.account, authz, 0)
		synctest.Wait()
		tried := time.Now()
		time.Sleep(time.Hour)
		w.issuer.Spec.Validation.CAA = v1alpha1.CAAEnforce
		f := r.withAccount(facts{now: time.Now(), issuer: w.issuer}, authz, w.account)
		s := decide(authz, f)
		if s.start || s.status.State != acme.StateValid {
			t.Fatalf("%+v", s)
		}
		if at := s.status.Challenge.ValidatedAt; !at.Time.Equal(tried) || !s.status.Expires.Time.Equal(tried.Add(24*time.Hour)) {
			t.Errorf("validated at %v and until %v, tried at %v", at, s.status.Expires, tried)
		}
		if s.status.Challenge.CAACheckedAt != nil {
			t.Error("CAA was checked, it says")
		}

		w.offer(t, acme.DNS01)
		s = decide(authz, f)
		if s.status.State != acme.StateInvalid || !strings.Contains(s.status.Problem.Detail, "doesn't offer http-01") {
			t.Errorf("a challenge that is not offered any more: %+v", s)
		}
	})
}
