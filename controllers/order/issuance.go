package order

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/policy"
)

// issuance is a certificate to be signed.
type issuance struct {
	request ca.Request
	profile *ca.Profile
	// skew is how far the time of the finalize request was outside the time from the order's creation to now.
	skew time.Duration
}

// admit checks once more all that decides over a certificate, whoever checked it before, and returns the certificate to be signed. der
// is the CSR.
func admit(order *v1alpha1.AcmeOrder, f facts, der []byte) (*issuance, *acme.Problem) {
	at, skew := finalizedAt(order, f.now)
	terms := policy.StoredTerms(order, f.now)
	terms.Times.Finalized = at
	allowed := f.issuer.Policy.ForAccount(f.account)
	admitted, problem := allowed.AdmitOrder(terms)
	if problem != nil {
		return nil, problem
	}
	key, problem := verify.AccountKey(f.account)
	if problem != nil {
		return nil, problem
	}
	csr, problem := allowed.AdmitCSR(der, admitted, policy.CSROptions{AccountKey: key.Public(), CAKeys: f.issuer.CAKeys})
	if problem != nil {
		return nil, problem
	}
	if problem := policy.Terms(f.account, f.issuer.Spec.Account.TermsOfService); problem != nil {
		return nil, problem
	}
	if f.keyProblem != nil {
		return nil, f.keyProblem
	}
	return &issuance{profile: f.issuer.Profiles[admitted.Profile.Name], skew: skew, request: ca.Request{
		ID: string(order.UID), Order: order.Name, Identifiers: admitted.Identifiers, CSR: csr,
		OrderedAt: terms.Times.Ordered, FinalizedAt: at, NotBefore: terms.Times.NotBefore, NotAfter: terms.Times.NotAfter,
		IssuerURL: f.issuer.CertificateURL(), CRLURL: f.issuer.CRLURL(f.issuer.CRLOf(order)),
	}}, nil
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
