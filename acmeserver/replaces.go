package acmeserver

import (
	"net/http"
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

// replacing checks that an order may replace the certificate that it says it does (RFC 9773 section 5): one of the same
// account, for one of the same identifiers at least, that no other order replaces. Of two orders at the very same moment both
// may pass; the controllers let one of them have a certificate.
func (s *Server) replacing(r *signed, certID string, identifiers []acme.Identifier) error {
	if certID == "" {
		return nil
	}
	id, problem := acme.ParseCertID(certID)
	if problem != nil {
		return problem
	}
	replaced, err := s.orderOfCertificate(r.call, id)
	if err != nil {
		return err
	}
	if replaced == nil {
		return acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate that is not known here")
	}
	if problem := policy.Replaces(replaced, r.account.Name, identifiers); problem != nil {
		return problem
	}
	others, err := s.orders.List(r.Context(), ordersByReplaces, r.issuer.key.Namespace, certID)
	if err != nil {
		return err
	}
	counts := func(o *v1alpha1.AcmeOrder) bool {
		return o.Spec.IssuerRef.Name == r.issuer.key.Name && o.Status.State != acme.StateInvalid
	}
	if slices.ContainsFunc(others, counts) {
		return acme.NewProblem(acme.AlreadyReplaced, "another order replaces the certificate already").WithStatus(http.StatusConflict)
	}
	return nil
}
