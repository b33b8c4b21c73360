package authorization

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/test/schema"
)

// Any authorization and account that the API server stores get a status that the API server takes, without a panic. Otherwise a write
// would be retried for ever.
func TestAnyStoredAuthorizationIsDecided(t *testing.T) {
	kind, accountKind := schema.Of(t, &v1alpha1.AcmeAuthorization{}), schema.Of(t, &v1alpha1.AcmeAccount{})
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		authz := w.pending()
		kind.Draw(rt, t, "spec", &authz.Spec)
		kind.Draw(rt, t, "status", &authz.Status)
		f := facts{now: w.now.Add(time.Duration(rapid.IntRange(-48, 24*400).Draw(rt, "hours")) * time.Hour)}
		if rapid.Bool().Draw(rt, "issuer") {
			f.issuer = w.issuer
		}
		f.issuerEnding = rapid.Bool().Draw(rt, "ending")
		if rapid.Bool().Draw(rt, "another account") {
			f.account = w.account.DeepCopy()
			accountKind.Draw(rt, t, "spec", &f.account.Spec)
			accountKind.Draw(rt, t, "status", &f.account.Status)
		} else {
			f.account = w.account
		}
		if rapid.Bool().Draw(rt, "genuine") {
			authz.Spec.Identifier, authz.Spec.Wildcard, authz.Spec.Deactivation = w.pending().Spec.Identifier, false, nil
			authz.Status.State, authz.Status.Expires = rapid.SampledFrom([]acme.State{acme.StatePending, acme.StateValid}).Draw(rt, "state"), nil
			f = facts{now: w.now, issuer: w.issuer, account: w.account}
			authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name = "ca", "acct"
			authz.CreationTimestamp = metav1.NewTime(w.now)
			kinds := []acme.ChallengeType{acme.HTTP01, acme.HTTP01, acme.DNS01, acme.DNSPersist01}
			response := rapid.SampledFrom(kinds).Draw(rt, "type")
			authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: response, Request: *w.sign(t, w.key, acme.ChallengePath(authz.Name, response), struct{}{})}
		}
		f.attempt = anyAttempt(rt, w.now)
		s := decide(authz, f)
		if faults := kind.Faults(t, "status", s.status); len(faults) > 0 {
			rt.Errorf("%v", faults)
		}
	})
}

func anyAttempt(rt *rapid.T, now time.Time) attempts.Attempt {
	a := attempts.Attempt{Number: rapid.IntRange(0, 5).Draw(rt, "number"), Running: rapid.Bool().Draw(rt, "running"), Ended: now}
	if a.Number == 0 || a.Running {
		return a
	}
	a.Result.Valid = rapid.Bool().Draw(rt, "valid")
	a.Result.Record = validation.Record{Time: now, Resolver: "192.0.2.1"}
	if !a.Result.Valid {
		text := rapid.SampledFrom([]string{"", "no", "\u202e", string(make([]byte, 4000))}).Draw(rt, "detail")
		a.Result.Problem = acme.NewProblem(acme.Connection, "%s", text)
		a.Result.Transient = rapid.Bool().Draw(rt, "transient")
	}
	return a
}
