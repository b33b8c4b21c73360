package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// indexUnfinishedOf finds by account the orders and authorizations that end with it.
const indexUnfinishedOf = "unfinished of"

// endedBy is the state that a deactivation leads to: "deactivated" by the client, "revoked" by a person on the CA's side
// (RFC 8555 section 7.1.2 and 7.1.6).
func endedBy(d *v1alpha1.Deactivation) acme.State {
	if d.Request == nil {
		return acme.StateRevoked
	}
	return acme.StateDeactivated
}

// endedAccount says why nothing of an account goes on (RFC 8555 section 7.3.6): it was deactivated, or revoked; nil while it
// is valid, and while the cache doesn't show it.
func endedAccount(ctx context.Context, reader client.Reader, namespace, name string) (*acme.Problem, acme.State, error) {
	account := &v1alpha1.AcmeAccount{}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, account); err != nil {
		return nil, "", client.IgnoreNotFound(err)
	}
	if !account.Status.State.Final() {
		return nil, account.Status.State, nil
	}
	return acme.NewProblem(acme.Unauthorized, "the account is %s", account.Status.State), account.Status.State, nil
}

// endWith ends an authorization whose account has ended: what was proved was proved for that account alone.
func endWith(account acme.State, problem *acme.Problem, authz *v1alpha1.AcmeAuthorization) {
	switch {
	case authz.Status.State == acme.StatePending:
		authz.Status.State = acme.StateInvalid
	case account == acme.StateDeactivated:
		authz.Status.State = acme.StateDeactivated
	default:
		authz.Status.State = acme.StateRevoked
	}
	authz.Status.Problem = v1alpha1.ProblemFrom(problem)
}

// unfinishedOf maps an account that has ended to what of a kind ends with it.
func unfinishedOf(reader client.Reader, kind client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, account client.Object) []reconcile.Request {
		if !account.(*v1alpha1.AcmeAccount).Status.State.Final() {
			return nil
		}
		return requestsFor(ctx, reader, kind.DeepCopyObject().(client.ObjectList), client.InNamespace(account.GetNamespace()), client.MatchingFields{indexUnfinishedOf: account.GetName()})
	})
}
