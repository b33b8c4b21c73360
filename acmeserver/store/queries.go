package store

import (
	"context"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The objects that queries return are shared with the cache: a caller that changes one copies it first.

// AccountsWithKey returns the accounts of all issuers whose key has a thumbprint (RFC 7638).
func (s *Store) AccountsWithKey(ctx context.Context, thumbprint string) ([]*v1alpha1.AcmeAccount, error) {
	return s.Accounts.list(ctx, accountsByThumbprint, everyNamespace, thumbprint)
}

// AccountsFrom returns the issuer's accounts that were registered from an origin.
func (s *Store) AccountsFrom(ctx context.Context, issuer types.NamespacedName, origin string) ([]*v1alpha1.AcmeAccount, error) {
	return s.Accounts.list(ctx, accountsByOrigin, issuer.Namespace, issuerAndOrigin(issuer.Name, origin))
}

// PendingOrders returns the account's orders that are not finished.
func (s *Store) PendingOrders(ctx context.Context, account *v1alpha1.AcmeAccount) ([]*v1alpha1.AcmeOrder, error) {
	return s.Orders.list(ctx, pendingOrdersByAccount, account.Namespace, account.Name)
}

// KeyClaims returns the claims of keys that the account changed to, or tried to.
func (s *Store) KeyClaims(ctx context.Context, account *v1alpha1.AcmeAccount) ([]*v1alpha1.AcmeAccount, error) {
	return s.Accounts.list(ctx, claimsByAccount, account.Namespace, account.Name)
}

// Revocations returns the orders of an account whose certificates are revoked, or are to be revoked.
func (s *Store) Revocations(ctx context.Context, namespace, account string) ([]*v1alpha1.AcmeOrder, error) {
	return s.Orders.list(ctx, revocationsByAccount, namespace, account)
}

// listLive returns the selected orders of a namespace from the API server.
func (s *Store) listLive(ctx context.Context, namespace string, selector fields.Selector) ([]*v1alpha1.AcmeOrder, error) {
	list := &v1alpha1.AcmeOrderList{}
	if err := s.Orders.live.List(ctx, list, client.InNamespace(namespace), client.MatchingFieldsSelector{Selector: selector}); err != nil {
		return nil, Failure(orders.String(), err)
	}
	found := make([]*v1alpha1.AcmeOrder, len(list.Items))
	for i := range list.Items {
		found[i] = &list.Items[i]
	}
	return found, nil
}

// OrdersWithCompromisedKey returns the orders of a namespace whose certificate was revoked because its key, given by its
// fingerprint in hex, is compromised.
func (s *Store) OrdersWithCompromisedKey(ctx context.Context, namespace, fingerprint string) ([]*v1alpha1.AcmeOrder, error) {
	return s.Orders.list(ctx, ordersByCompromisedKey, namespace, fingerprint)
}

// AuthorizationsFor returns the account's stored authorizations of an identifier.
func (s *Store) AuthorizationsFor(
	ctx context.Context, account *v1alpha1.AcmeAccount, id acme.Identifier,
) ([]*v1alpha1.AcmeAuthorization, error) {
	return s.Authorizations.list(ctx, authorizationsByIdentifier, account.Namespace, accountAndIdentifier(account.Name, id))
}
