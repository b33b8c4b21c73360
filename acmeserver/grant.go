package acmeserver

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// applyGrant sets the status of a virtual authorization whose identifier is granted: valid while the grant covers it, expired
// after the end of the grant, and revoked if the grant was taken back. The controllers decide for themselves.
func (s *Server) applyGrant(ctx context.Context, order *v1alpha1.AcmeOrder, identifier int, authz *v1alpha1.AcmeAuthorization) error {
	issuer, err := s.issuers.Get(ctx, types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name})
	if err != nil {
		return err
	}
	account, err := s.store.Accounts.Get(ctx, types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name})
	if err != nil {
		return err
	}
	expires := order.ExpiresAt(issuer.Spec.Lifetimes)
	authz.Status.State, authz.Status.Expires = acme.StateValid, &expires
	if issuer.Policy == nil {
		return nil // the issuer cannot issue until its spec is valid, and then the grant is looked up
	}
	name, allowed := order.Grant(identifier), issuer.Policy.ForAccount(account)
	if end := allowed.GrantExpires(name); !end.IsZero() && end.Before(expires.Time) {
		authz.Status.Expires = &metav1.Time{Time: end}
	}
	if !s.now().Before(authz.Status.Expires.Time) {
		authz.Status.State = acme.StateExpired
		return nil
	}
	profile, problem := allowed.Profile(order.Spec.Profile)
	if problem == nil {
		problem = allowed.CheckGrant(name, order.Spec.Identifiers[identifier].ACME(), profile.Name, s.now())
	}
	if problem != nil {
		authz.Status.State, authz.Status.Problem = acme.StateRevoked, v1alpha1.ProblemFrom(problem)
	}
	return nil
}

// isGranted reports whether an authorization is valid by a grant: it is not stored.
func isGranted(authz *v1alpha1.AcmeAuthorization) bool {
	return isVirtual(authz) && authz.Status.State == acme.StateValid
}
