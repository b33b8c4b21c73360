package authorization

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/policy"
)

// alwaysValid is a Checker that finds every proof.
type alwaysValid struct{}

func (alwaysValid) Validate(context.Context, validation.Request) validation.Result {
	return validation.Result{Valid: true}
}

func (alwaysValid) CheckCAA(context.Context, validation.Request) validation.Result {
	return validation.Result{Valid: true}
}

// accepted returns an authorization whose client has accepted the http-01 challenge, and its account.
func accepted() (*v1alpha1.AcmeAccount, *v1alpha1.AcmeAuthorization) {
	account := &v1alpha1.AcmeAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "acct", UID: "uid-acct"}}
	account.Status.Thumbprint = "thumbprint"
	authz := &v1alpha1.AcmeAuthorization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "uid-a"}}
	authz.Spec.Identifier = v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}
	authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.DNS01, Token: "another"}, {Type: acme.HTTP01, Token: "token"}}
	authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01}
	return account, authz
}

// An outcome that nobody took up for a while, as of a suspended issuer, is of when it was tried, and by the rules of then.
func TestAnOutcomeIsOfWhenItWasTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := validation.NewPool(validation.PoolConfig{})
		t.Cleanup(pool.Close)
		runner := attempts.New(pool, clock.RealClock{}, make(chan event.GenericEvent, 10))
		issuer := &issuers.Issuer{Validator: alwaysValid{}}
		issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "default"}}
		issuer.Spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01}
		issuer.Spec.Lifetimes.Authorization.Duration = 24 * time.Hour
		issuer.Spec.Validation.CAA = v1alpha1.CAAOff
		var err error
		if issuer.Policy, err = policy.New(&issuer.Spec); err != nil {
			t.Fatal(err)
		}
		owner, authz := accepted()
		runner.Start(issuer, owner, authz, 0)
		synctest.Wait()
		tried := time.Now()
		time.Sleep(time.Hour)
		issuer.Spec.Validation.CAA = v1alpha1.CAAEnforce
		owner, authz = accepted()
		next, err := (&Reconciler{Attempts: runner}).validate(t.Context(), issuer, owner, authz)
		if err != nil || next != nil || authz.Status.State != acme.StateValid {
			t.Fatalf("%v, %+v", err, authz.Status)
		}
		if at := authz.Status.Challenge.ValidatedAt; !at.Time.Equal(tried) || !authz.Status.Expires.Time.Equal(tried.Add(24*time.Hour)) {
			t.Errorf("validated at %v and until %v, tried at %v", at, authz.Status.Expires, tried)
		}
		if authz.Status.Challenge.CAACheckedAt != nil {
			t.Error("CAA was looked at, it says")
		}

		issuer.Spec.Challenges.Types = []acme.ChallengeType{acme.DNS01}
		if issuer.Policy, err = policy.New(&issuer.Spec); err != nil {
			t.Fatal(err)
		}
		owner, authz = accepted()
		_, err = (&Reconciler{Attempts: runner, Events: events.NewFakeRecorder(1)}).validate(t.Context(), issuer, owner, authz)
		if err != nil || authz.Status.State != acme.StateInvalid || !strings.Contains(authz.Status.Problem.Detail, "doesn't offer http-01") {
			t.Errorf("a challenge that isn't offered any more: %v, %+v", err, authz.Status)
		}
	})
}
