package order

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/test/schema"
)

// Any order that the API server stores, with any authorizations and account, gets a status that the API server takes, without a panic.
// Otherwise a write would be retried for ever.
func TestAnyStoredOrderIsDecided(t *testing.T) {
	kind, authorizations, accounts := schema.Of(t, &v1alpha1.AcmeOrder{}), schema.Of(t, &v1alpha1.AcmeAuthorization{}), schema.Of(t, &v1alpha1.AcmeAccount{})
	w := newSituation(t)
	rapid.Check(t, func(rt *rapid.T) {
		order, f := w.order.DeepCopy(), w.facts
		drawn := v1alpha1.AcmeOrderSpec{}
		kind.Draw(rt, t, "spec", &drawn)
		kind.Draw(rt, t, "status", &order.Status)
		if rapid.Bool().Draw(rt, "genuine") { // but for some fields
			if rapid.Bool().Draw(rt, "identifiers") {
				order.Spec.Identifiers = drawn.Identifiers
			}
			if rapid.Bool().Draw(rt, "authorizations") {
				order.Spec.Authorizations = drawn.Authorizations
			}
			order.Spec.NotBefore, order.Spec.NotAfter, order.Spec.Replaces, order.Spec.Profile = drawn.NotBefore, drawn.NotAfter, drawn.Replaces, drawn.Profile
			order.Spec.Revocation = drawn.Revocation
		} else {
			order.Spec = drawn
		}
		if rapid.Bool().Draw(rt, "unfinished") {
			order.Status.State = acme.StatePending
		}
		if rapid.Bool().Draw(rt, "deleted") {
			order.DeletionTimestamp = &metav1.Time{Time: now}
		}
		f.now = f.now.Add(time.Duration(rapid.IntRange(-48, 24*400).Draw(rt, "hours")) * time.Hour)
		f.issuerEnding, f.taken = rapid.Bool().Draw(rt, "ending"), rapid.Bool().Draw(rt, "taken")
		if rapid.Bool().Draw(rt, "key") {
			f.keyProblem = policy.AccountKeyUsed()
		}
		if rapid.Bool().Draw(rt, "no issuer") {
			f.issuer = nil
		}
		f.authorizations = nil
		for i := range order.Spec.Authorizations { // as gather reads them
			f.authorizations = append(f.authorizations, anyAuthorization(t, rt, authorizations, w, i))
		}
		if rapid.Bool().Draw(rt, "another account") {
			f.account = w.facts.account.DeepCopy()
			accounts.Draw(rt, t, "status", &f.account.Status)
		}
		f.revocation.account = f.account
		s := decide(order, f)
		if s.issue != nil {
			if certificate, err := f.issuer.Authority.Issue(s.issue.profile, s.issue.request); err == nil {
				s.certificate = certificate
			}
		}
		changed := order.DeepCopy()
		s.change(changed, f)
		if faults := kind.Faults(t, "status", changed.Status); len(faults) > 0 {
			rt.Errorf("%v", faults)
		}
		if f.issuer != nil && order.Finalized() {
			caaDue(order, f)
		}
	})
}

func anyAuthorization(t *testing.T, rt *rapid.T, kind *schema.Kind, w *situation, i int) *v1alpha1.AcmeAuthorization {
	switch rapid.IntRange(0, 3).Draw(rt, "authorization") {
	case 0:
		return nil
	case 1:
		authz := &v1alpha1.AcmeAuthorization{}
		kind.Draw(rt, t, "spec", &authz.Spec)
		kind.Draw(rt, t, "status", &authz.Status)
		return authz
	}
	return w.facts.authorizations[i%len(w.facts.authorizations)]
}
