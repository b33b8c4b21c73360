package order

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
)

// caaPermits reports whether CAA permits the certificate: by the checks at validation, or by another look where those are
// too old. It fails the order where CAA forbids it.
func (r *Reconciler) caaPermits(ctx context.Context, issuer *issuers.Issuer, order *v1alpha1.AcmeOrder, now time.Time) (bool, error) {
	if issuer.Spec.Validation.CAA != v1alpha1.CAAEnforce {
		return true, nil
	}
	account, err := r.loadAccount(ctx, order, now)
	if err != nil || account == nil {
		return false, err
	}
	var due []validation.Request
	for i, name := range order.Spec.Authorizations {
		authz := &v1alpha1.AcmeAuthorization{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: name}, authz); err != nil {
			return false, err
		}
		// What was looked at with an authorization of a domain above is not what counts for the name (RFC 8659 section 3).
		identifier := order.Spec.Identifiers[i].ACME()
		if below := authz.Authorized() != identifier; below || attempts.CAADue(issuer, authz, now) {
			request := issuer.ValidationRequest(account, authz)
			request.Identifier, request.Wildcard = identifier.Base(), identifier.Wildcard()
			due = append(due, request)
		}
	}
	if len(due) == 0 {
		return true, nil
	}
	verdict := r.CAA.Check(client.ObjectKeyFromObject(order), order.UID, issuer, account, due)
	if !verdict.Permitted && len(verdict.Refused) > 0 {
		problem := caaProblem(verdict.Refused, len(order.Spec.Identifiers))
		if verdict.Final {
			r.fail(order, problem)
		} else {
			r.setReady(order, metav1.ConditionFalse, v1alpha1.ReasonCheckingCAA, problem.Detail)
		}
	}
	return verdict.Permitted, nil
}

func caaProblem(refused []acme.Problem, of int) *acme.Problem {
	if len(refused) == 1 {
		return &refused[0]
	}
	problem := acme.NewProblem(acme.Compound, "the CAA records of %d of %d identifiers permit no certificate, or can't be looked up", len(refused), of).WithStatus(403)
	problem.Subproblems = refused
	return problem
}
