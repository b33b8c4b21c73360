package order

import (
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/validation"
)

// caaDue returns the names whose CAA records must be checked before a certificate is issued: those whose check at validation is
// too old, or was of a parent domain (RFC 8659 section 3), and those of grants. It returns none if an authorization is missing.
func caaDue(order *v1alpha1.AcmeOrder, f facts) []validation.Request {
	if f.account == nil || f.issuer.Spec.Validation.CAA != v1alpha1.CAAEnforce || len(f.authorizations) != len(order.Spec.Identifiers) {
		return nil
	}
	var due []validation.Request
	for i, authz := range f.authorizations {
		if byGrant(order, i, authz) {
			authz = order.AwaitedAuthorization(i)
		}
		if authz == nil {
			return nil
		}
		identifier := order.Spec.Identifiers[i].ACME()
		if parent := authz.Authorized() != identifier; parent || attempts.CAADue(f.issuer, authz, f.now) {
			request := f.issuer.ValidationRequest(f.account, authz)
			request.Identifier, request.Wildcard = identifier.Base(), identifier.Wildcard()
			due = append(due, request)
		}
	}
	return due
}

// decideCAA issues a certificate if CAA permits it: by the checks at validation, or by another check of the names that are due.
func decideCAA(order *v1alpha1.AcmeOrder, f facts, s step, admitted *issuance) step {
	due := caaDue(order, f)
	refused := compound(f.caa.Refused, "the CAA records of %d of %d identifiers permit no certificate, or can't be looked up", len(order.Spec.Identifiers))
	switch {
	case len(due) == 0 || f.caa.Permitted:
		s.issue = admitted
	case f.caa.Final:
		s = failed(refused)
	default:
		if refused != nil {
			s.condition = notReady(v1alpha1.ReasonCheckingCAA, refused.Detail)
		}
		if !f.caa.Running {
			s.checkCAA = due
		}
	}
	return s
}
