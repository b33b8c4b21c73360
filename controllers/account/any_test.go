package account

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/schema"
)

// Any account or claim that the API server stores gets a status that the API server takes, without a panic. Otherwise a write would be
// retried for ever.
func TestAnyStoredAccountIsDecided(t *testing.T) {
	kind := schema.Of(t, &v1alpha1.AcmeAccount{})
	w := newWorld(t, map[string]any{})
	registration, claim := w.account.Spec, w.claim(w.next, w.keyChange(w.key, w.next))
	genuine := []*v1alpha1.SignedRequest{
		registration.Registration, w.update(w.key, map[string]any{"contact": []string{"mailto:a@a.test"}}), w.keyChange(w.key, w.next),
		w.update(w.key, map[string]any{"status": "deactivated"}),
	}
	rapid.Check(t, func(rt *rapid.T) {
		account := w.account.DeepCopy()
		account.Generation = 7
		kind.Draw(rt, t, "spec", &account.Spec)
		kind.Draw(rt, t, "status", &account.Status)
		if rapid.Bool().Draw(rt, "registered") {
			account.Spec.JWK, account.Spec.Registration, account.Spec.IssuerRef = registration.JWK, registration.Registration, registration.IssuerRef
		}
		if rapid.Bool().Draw(rt, "valid") {
			account.Status.State, account.Status.JWK = acme.StateValid, registration.JWK
		}
		for _, into := range []**v1alpha1.SignedRequest{&account.Spec.Registration, &account.Spec.Update, &account.Spec.KeyChange} {
			if rapid.Bool().Draw(rt, "genuine") {
				*into = rapid.SampledFrom(genuine).Draw(rt, "request")
			}
		}
		f := w.f
		f.now = f.now.Add(time.Duration(rapid.IntRange(-48, 24*400).Draw(rt, "hours")) * time.Hour)
		f.hasClaims = rapid.Bool().Draw(rt, "claims")
		f.claimed = rapid.SampledFrom([]*v1alpha1.AcmeAccount{nil, w.account, claim}).Draw(rt, "claimed")
		f.newKey = rapid.SampledFrom([]*v1alpha1.AcmeAccount{nil, w.account, claim}).Draw(rt, "new key")
		s := decide(account, f)
		if faults := kind.Faults(t, "status", s.status); len(faults) > 0 {
			rt.Errorf("%v", faults)
		}
	})
}
