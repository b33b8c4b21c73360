package acmeserver

import (
	"net/http"
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// replacing checks that an order may replace the certificate that it says it does (RFC 9773 section 5): one of the same
// account, for one of the same identifiers at least, that no other order replaces. It changes nothing but what is known of
// the order, so that of two orders at the very same moment both may pass.
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
	shared := func(id v1alpha1.Identifier) bool { return slices.Contains(identifiers, id.ACME()) }
	switch {
	case replaced == nil:
		return acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate that is not known here")
	case replaced.Spec.AccountRef.Name != r.account.Name:
		return acme.NewProblem(acme.Unauthorized, "\"replaces\" names a certificate of another account")
	case !slices.ContainsFunc(replaced.Spec.Identifiers, shared):
		return acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate that shares no identifier with this order")
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
