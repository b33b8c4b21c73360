package store

import (
	"context"
	"errors"
	"math"
	"math/big"
	"time"

	"k8s.io/apimachinery/pkg/types"

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

// OrdersReplacing returns the orders of a namespace that replace a certificate (RFC 9773 section 5).
func (s *Store) OrdersReplacing(ctx context.Context, namespace, certID string) ([]*v1alpha1.AcmeOrder, error) {
	return s.Orders.list(ctx, ordersByReplaces, namespace, certID)
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

// certificateKind is the kind in errors about certificates.
const certificateKind = "certificate"

// OrderWithSerial returns the issuer's order whose certificate has a serial number. The error is ErrNotFound if there is
// none, and ErrStale if the cache lags behind another replica that may have shown the certificate.
func (s *Store) OrderWithSerial(ctx context.Context, issuer types.NamespacedName, number *big.Int) (*v1alpha1.AcmeOrder, error) {
	current := s.Orders.upToDate(ctx)
	name, found := s.serials.Find(issuer.Namespace, v1alpha1.SerialText(number))
	switch {
	case !found && !current:
		return nil, staleCertificate()
	case !found:
		return nil, NotFound(certificateKind)
	}
	order, err := s.Orders.GetCached(ctx, types.NamespacedName{Namespace: issuer.Namespace, Name: name})
	if errors.Is(err, ErrNotFound) || err == nil && order.Spec.IssuerRef.Name != issuer.Name {
		return nil, NotFound(certificateKind)
	}
	return order, err
}

func staleCertificate() error { return &Error{Kind: certificateKind, Reason: ErrStale} }

// AwaitOrderWithSerial is OrderWithSerial for a certificate that exists. It waits up to cacheTimeout for the cache to
// receive the order. The error is ErrStale if the order does not arrive.
func (s *Store) AwaitOrderWithSerial(ctx context.Context, issuer types.NamespacedName, number *big.Int) (*v1alpha1.AcmeOrder, error) {
	timer := time.NewTimer(cacheTimeout)
	defer timer.Stop()
	for {
		moved := s.Orders.position.behind(math.MaxUint64)
		if order, err := s.OrderWithSerial(ctx, issuer, number); !errors.Is(err, ErrNotFound) {
			return order, err
		}
		select {
		case <-moved:
		case <-timer.C:
			// The last try: watches of several namespaces may deliver an order after one with a higher version.
			order, err := s.OrderWithSerial(ctx, issuer, number)
			if errors.Is(err, ErrNotFound) {
				err = staleCertificate()
			}
			return order, err
		case <-ctx.Done():
			return nil, staleCertificate()
		}
	}
}
