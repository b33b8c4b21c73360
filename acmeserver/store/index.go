package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// index finds the cached objects of one kind by a value that is derived from each. An object whose value is empty is not
// in the index.
type index[T client.Object] struct {
	name  string
	value func(T) string
}

// The value of an index holds everything that a query needs, so that its cost grows with the objects found, not with the
// objects stored.
var (
	accountsByThumbprint = index[*v1alpha1.AcmeAccount]{"status.thumbprint", func(a *v1alpha1.AcmeAccount) string {
		return a.Status.Thumbprint
	}}
	accountsByOrigin = index[*v1alpha1.AcmeAccount]{"issuer/origin", func(a *v1alpha1.AcmeAccount) string {
		if a.Spec.RegisteredFrom == "" {
			return ""
		}
		return issuerAndOrigin(a.Spec.IssuerRef.Name, a.Spec.RegisteredFrom)
	}}

	claimsByAccount = index[*v1alpha1.AcmeAccount]{"spec.keyClaimFor", func(a *v1alpha1.AcmeAccount) string { return a.Spec.KeyClaimFor }}

	ordersByCompromisedKey = index[*v1alpha1.AcmeOrder]{"compromised key", (*v1alpha1.AcmeOrder).CompromisedKey}
	pendingOrdersByAccount = index[*v1alpha1.AcmeOrder]{"account/pending", func(o *v1alpha1.AcmeOrder) string {
		if o.Finished() {
			return ""
		}
		return o.Spec.AccountRef.Name
	}}

	revocationsByAccount = index[*v1alpha1.AcmeOrder]{"account/revocation", func(o *v1alpha1.AcmeOrder) string {
		if !o.OwesRevocation() {
			return ""
		}
		return o.Spec.AccountRef.Name
	}}

	authorizationsByIdentifier = index[*v1alpha1.AcmeAuthorization]{"account/identifier", func(a *v1alpha1.AcmeAuthorization) string {
		return accountAndIdentifier(a.Spec.AccountRef.Name, a.Authorized())
	}}
)

// issuerAndOrigin is a value of accountsByOrigin. No part contains a space.
func issuerAndOrigin(issuer, origin string) string { return issuer + " " + origin }

// accountAndIdentifier is a value of authorizationsByIdentifier. No part contains a space.
func accountAndIdentifier(account string, id acme.Identifier) string {
	return account + " " + string(id.Type) + " " + id.Value
}

func addIndexes(ctx context.Context, c cache.Cache) error {
	for _, err := range []error{
		accountsByThumbprint.addTo(ctx, c, &v1alpha1.AcmeAccount{}),
		accountsByOrigin.addTo(ctx, c, &v1alpha1.AcmeAccount{}),
		claimsByAccount.addTo(ctx, c, &v1alpha1.AcmeAccount{}),
		revocationsByAccount.addTo(ctx, c, &v1alpha1.AcmeOrder{}),
		ordersByCompromisedKey.addTo(ctx, c, &v1alpha1.AcmeOrder{}),
		pendingOrdersByAccount.addTo(ctx, c, &v1alpha1.AcmeOrder{}),
		authorizationsByIdentifier.addTo(ctx, c, &v1alpha1.AcmeAuthorization{}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (i index[T]) addTo(ctx context.Context, c cache.Cache, object T) error {
	err := c.IndexField(ctx, object, i.name, func(object client.Object) []string {
		if value := i.value(object.(T)); value != "" {
			return []string{value}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index %s: %w", i.name, err)
	}
	return nil
}

// everyNamespace makes list search all namespaces.
const everyNamespace = ""

// list returns the objects of a namespace with a value of an index, including this replica's writes that the cache does not
// have yet. The objects are shared with the cache: a caller that changes one copies it first.
func (s *Objects[T]) list(ctx context.Context, i index[T], namespace, value string) ([]T, error) {
	s.upToDate(ctx) // best effort: a stale list is better than none
	// newer is read before the cache: an entry is dropped once the cache has it.
	s.mu.Lock()
	newer := maps.Clone(s.newer)
	s.mu.Unlock()
	list := s.newList()
	err := s.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{i.name: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, Failure(s.kind.String(), err)
	}
	found := make([]T, 0, meta.LenList(list))
	err = meta.EachListItem(list, func(item runtime.Object) error {
		object := item.(T)
		if kept, ok := newer[client.ObjectKeyFromObject(object)]; !ok || !older(object, kept) {
			found = append(found, object)
		}
		return nil
	})
	for key, kept := range newer {
		if namespace != everyNamespace && key.Namespace != namespace || i.value(kept) != value {
			continue
		}
		if _, gone := s.LastState(kept.GetUID()); gone {
			continue
		}
		if !slices.ContainsFunc(found, func(object T) bool { return client.ObjectKeyFromObject(object) == key }) {
			found = append(found, kept)
		}
	}
	return found, err
}
