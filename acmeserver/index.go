package acmeserver

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

// index finds objects of one kind in the cache by a value that follows from each. An object without the value isn't found.
type index[T client.Object] struct {
	name  string
	value func(T) string
}

// What is looked for other than by name. A field's value says all that the search needs: cost grows with what is found,
// never with what is stored.
var (
	accountsByThumbprint = index[*v1alpha1.AcmeAccount]{"status.thumbprint", func(a *v1alpha1.AcmeAccount) string { return a.Status.Thumbprint }}
	accountsByOrigin     = index[*v1alpha1.AcmeAccount]{"issuer and registeredFrom", func(a *v1alpha1.AcmeAccount) string {
		if a.Spec.RegisteredFrom == "" {
			return ""
		}
		return issuerAndOrigin(a.Spec.IssuerRef.Name, a.Spec.RegisteredFrom)
	}}

	ordersByAccount  = index[*v1alpha1.AcmeOrder]{"spec.accountRef.name", func(o *v1alpha1.AcmeOrder) string { return o.Spec.AccountRef.Name }}
	ordersByReplaces = index[*v1alpha1.AcmeOrder]{"spec.replaces", func(o *v1alpha1.AcmeOrder) string { return o.Spec.Replaces }}

	ordersByCompromisedKey = index[*v1alpha1.AcmeOrder]{"compromised key", (*v1alpha1.AcmeOrder).CompromisedKey}

	preAuthorizationsByAccount = index[*v1alpha1.AcmeAuthorization]{"account that pre-authorized", func(a *v1alpha1.AcmeAuthorization) string {
		if !a.Spec.PreAuthorization {
			return ""
		}
		return a.Spec.AccountRef.Name
	}}
	pendingOrdersByAccount = index[*v1alpha1.AcmeOrder]{"account, pending", func(o *v1alpha1.AcmeOrder) string {
		if finished(o) {
			return ""
		}
		return o.Spec.AccountRef.Name
	}}
	pendingAuthorizationsByAccount = index[*v1alpha1.AcmeAuthorization]{"account, pending", func(a *v1alpha1.AcmeAuthorization) string {
		if !pending(a) {
			return ""
		}
		return a.Spec.AccountRef.Name
	}}
	authorizationsByName = index[*v1alpha1.AcmeAuthorization]{"account and identifier", func(a *v1alpha1.AcmeAuthorization) string {
		return accountAndIdentifier(a.Spec.AccountRef.Name, a.Authorized())
	}}
)

// issuerAndOrigin is what accountsByOrigin finds. A space is in none of the parts.
func issuerAndOrigin(issuer, origin string) string { return issuer + " " + origin }

// accountAndIdentifier is what authorizationsByName finds. A space is in none of the parts.
func accountAndIdentifier(account string, id acme.Identifier) string {
	return account + " " + string(id.Type) + " " + id.Value
}

func addIndexes(ctx context.Context, c cache.Cache) error {
	for _, add := range []error{
		accountsByThumbprint.add(ctx, c, &v1alpha1.AcmeAccount{}),
		accountsByOrigin.add(ctx, c, &v1alpha1.AcmeAccount{}),
		ordersByAccount.add(ctx, c, &v1alpha1.AcmeOrder{}),
		ordersByReplaces.add(ctx, c, &v1alpha1.AcmeOrder{}),
		ordersByCompromisedKey.add(ctx, c, &v1alpha1.AcmeOrder{}),
		preAuthorizationsByAccount.add(ctx, c, &v1alpha1.AcmeAuthorization{}),
		pendingOrdersByAccount.add(ctx, c, &v1alpha1.AcmeOrder{}),
		pendingAuthorizationsByAccount.add(ctx, c, &v1alpha1.AcmeAuthorization{}),
		authorizationsByName.add(ctx, c, &v1alpha1.AcmeAuthorization{}),
	} {
		if add != nil {
			return add
		}
	}
	return nil
}

func (i index[T]) add(ctx context.Context, c cache.Cache, kind T) error {
	err := c.IndexField(ctx, kind, i.name, func(object client.Object) []string {
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

// everyNamespace has List look everywhere.
const everyNamespace = ""

// List gives the objects of a namespace with a value of an index, among them those that this replica has written and the
// cache doesn't show yet. They are shared: who wants to change one copies it first.
func (s *store[T]) List(ctx context.Context, i index[T], namespace, value string) ([]T, error) {
	s.position.reach(ctx, s.kind) // or else it is what there is
	// Before the cache is read: what the cache comes up to meanwhile isn't held any more.
	s.mu.Lock()
	newer := maps.Clone(s.newer)
	s.mu.Unlock()
	list := s.emptyList()
	err := s.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{i.name: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
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
		if _, gone := s.Last(kept.GetUID()); gone {
			continue
		}
		if !slices.ContainsFunc(found, func(object T) bool { return client.ObjectKeyFromObject(object) == key }) {
			found = append(found, kept)
		}
	}
	return found, err
}
