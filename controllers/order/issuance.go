package order

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/policy"
)

// clockSkew is how far the ACME server's clock may be ahead of the API server's: it admits an order by its own clock.
const clockSkew = time.Minute

// issuance is a certificate to be signed.
type issuance struct {
	request ca.Request
	profile *ca.Profile
	// skew is how far the time of the finalize request was outside the time from the order's creation to now.
	skew time.Duration
}

// admit checks once more all that decides over a certificate, whoever checked it before, and returns the certificate to be signed.
func admit(order *v1alpha1.AcmeOrder, f facts) (*issuance, *acme.Problem) {
	identifiers := order.Names()
	for i, id := range identifiers {
		normal, problem := id.Normalize()
		if problem != nil {
			return nil, problem
		}
		identifiers[i] = normal
	}
	allowed := f.issuer.Policy.ForAccount(f.account)
	if problem := allowed.Identifiers(identifiers); problem != nil {
		return nil, problem
	}
	profile, problem := allowed.Profile(order.Spec.Profile)
	if problem != nil {
		return nil, problem
	}
	if len(identifiers) > profile.MaxIdentifiers {
		return nil, acme.NewProblem(acme.Malformed, "an order on profile %q has at most %d identifiers", profile.Name, profile.MaxIdentifiers)
	}
	key, problem := verify.AccountKey(f.account)
	if problem != nil {
		return nil, problem
	}
	csr, problem := policy.ParseCSR(order.CSRBytes(), identifiers, policy.CSROptions{
		AccountKey: key.Public(), CAKeys: f.issuer.CAKeys, KeyAlgorithms: profile.KeyAlgorithms,
	})
	if problem != nil {
		return nil, problem
	}
	if problem := allowed.Rules(identifiers, profile.Name, csr); problem != nil {
		return nil, problem
	}
	at, skew := finalizedAt(order, f.now)
	request := ca.Request{
		ID: string(order.UID), Identifiers: identifiers, CSR: csr, FinalizedAt: at, OrderedAt: order.CreationTimestamp.Add(-clockSkew),
		IssuerURL: f.issuer.CertificateURL(), CRLURL: f.issuer.CRLURL(f.issuer.ShardOf(order)),
	}
	if order.Spec.NotBefore != nil {
		request.NotBefore = order.Spec.NotBefore.Time
	}
	if order.Spec.NotAfter != nil {
		request.NotAfter = order.Spec.NotAfter.Time
	}
	return &issuance{request: request, profile: f.issuer.Profiles[profile.Name], skew: skew}, nil
}

// finalizedAt returns the time from which an order's validity counts: the time of the finalize request, but not before the order's
// creation and not after now. The ACME server writes that time, and its clock may be off. skew is how far the time was outside.
//
// A controller that dies between signing and writing signs the same certificate again, unless the time was after now. So the
// creation counts also if it is after now, by a controllers' clock that is behind the API server's.
func finalizedAt(order *v1alpha1.AcmeOrder, now time.Time) (at time.Time, skew time.Duration) {
	requested, created := order.Spec.Finalization.Time.Time, order.CreationTimestamp.Time
	at = requested
	if at.After(now) {
		at = now
	}
	if at.Before(created) {
		at = created
	}
	return at, at.Sub(requested).Abs()
}
