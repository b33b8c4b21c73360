// Package kube holds the helpers for Kubernetes objects that the controllers share: indexes of the cache, lookups, status writes,
// finalizers, conflicts and periodic work.
package kube

import (
	"context"
	"fmt"
	"hash/fnv"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The fields by which the cache is searched.
const (
	// IndexAccount finds authorizations by account.
	IndexAccount = "spec.accountRef.name"
	// IndexAuthorizations finds unfinished orders by the authorizations that they name.
	IndexAuthorizations = "spec.authorizations"
	// IndexThumbprint finds accounts by their key.
	IndexThumbprint = "status.thumbprint"
	// IndexKeyClaims finds the claims of keys for an account.
	IndexKeyClaims = "spec.keyClaimFor"
	// IndexUnfinishedOfIssuer finds by issuer the objects that wait for it: unfinished ones, orders to be revoked, and orders
	// that are being deleted.
	IndexUnfinishedOfIssuer = "issuer/unfinished"
	// IndexUnfinishedOfAccount finds unfinished orders and authorizations by account.
	IndexUnfinishedOfAccount = "account/unfinished"
	// IndexCompromised finds orders by issuer and key, if the certificate was revoked because its key is compromised.
	IndexCompromised = "compromised"
	// IndexRevoked finds revoked orders by the CRLs that have to list them. CRLKeys returns the values.
	IndexRevoked = "revoked"
	// IndexOwed is IndexRevoked for orders with the revocation's finalizer: their revocation is not in all of these CRLs yet.
	IndexOwed = "revoked/owed"
)

// fieldIndex finds cached objects of a kind by the values that a function returns for them.
type fieldIndex struct {
	kind  client.Object
	field string
	value client.IndexerFunc
}

// AddIndexes adds to the cache the indexes that the controllers search it by.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []fieldIndex{
		{&v1alpha1.AcmeAuthorization{}, IndexAccount, func(o client.Object) []string {
			return []string{o.(*v1alpha1.AcmeAuthorization).Spec.AccountRef.Name}
		}},
		{&v1alpha1.AcmeOrder{}, IndexAuthorizations, func(o client.Object) []string {
			if order := o.(*v1alpha1.AcmeOrder); !order.Finished() {
				return order.Spec.Authorizations
			}
			return nil
		}},
		{&v1alpha1.AcmeAuthorization{}, IndexUnfinishedOfAccount, func(o client.Object) []string {
			authz := o.(*v1alpha1.AcmeAuthorization)
			return onlyIf(!authz.Finished(), authz.Spec.AccountRef.Name)
		}},
		{&v1alpha1.AcmeOrder{}, IndexUnfinishedOfAccount, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(!order.Finished(), order.Spec.AccountRef.Name)
		}},
		{&v1alpha1.AcmeAccount{}, IndexThumbprint, func(o client.Object) []string {
			thumbprint := o.(*v1alpha1.AcmeAccount).Status.Thumbprint
			return onlyIf(thumbprint != "", thumbprint)
		}},
		{&v1alpha1.AcmeAccount{}, IndexKeyClaims, func(o client.Object) []string {
			account := o.(*v1alpha1.AcmeAccount).Spec.KeyClaimFor
			return onlyIf(account != "", account)
		}},
		{&v1alpha1.AcmeAccount{}, IndexUnfinishedOfIssuer, func(o client.Object) []string {
			account := o.(*v1alpha1.AcmeAccount)
			return onlyIf(account.Status.ObservedGeneration != account.Generation, account.Spec.IssuerRef.Name)
		}},
		{&v1alpha1.AcmeAuthorization{}, IndexUnfinishedOfIssuer, func(o client.Object) []string {
			authz := o.(*v1alpha1.AcmeAuthorization)
			return onlyIf(!authz.Finished(), authz.Spec.IssuerRef.Name)
		}},
		{&v1alpha1.AcmeOrder{}, IndexCompromised, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			key := order.CompromisedKey()
			return onlyIf(key != "", order.Spec.IssuerRef.Name+"/"+key)
		}},
		{&v1alpha1.AcmeOrder{}, IndexRevoked, func(o client.Object) []string { return listingCRLs(o.(*v1alpha1.AcmeOrder)) }},
		{&v1alpha1.AcmeOrder{}, IndexOwed, func(o client.Object) []string {
			if controllerutil.ContainsFinalizer(o, v1alpha1.RevocationFinalizer) {
				return listingCRLs(o.(*v1alpha1.AcmeOrder))
			}
			return nil
		}},
		{&v1alpha1.AcmeOrder{}, IndexUnfinishedOfIssuer, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(!order.Finished() || order.RevocationPending() || order.DeletionTimestamp != nil, order.Spec.IssuerRef.Name)
		}},
	} {
		if err := indexer.IndexField(ctx, index.kind, index.field, index.value); err != nil {
			return fmt.Errorf("index %s: %w", index.field, err)
		}
	}
	return nil
}

// listingCRLs returns the keys of the CRLs that list a revoked order: the complete CRL, and the shard that the certificate names.
func listingCRLs(order *v1alpha1.AcmeOrder) []string {
	if order.Status.RevokedAt == nil {
		return nil
	}
	group := fnv.New32a()
	_, _ = group.Write([]byte(order.Name)) // a hash takes all
	key := func(crl string) string { return crlKey(order.Spec.IssuerRef.Name, crl, group.Sum32()%crlGroups) }
	if complete := v1alpha1.CompleteCRL(order.Status.CRL); complete != order.Status.CRL {
		return []string{key(complete), key(order.Status.CRL)}
	}
	return []string{key(order.Status.CRL)}
}

// crlGroups is the number of groups that the orders of a CRL are in, so that a list of a group is short.
const crlGroups = 64

// CRLKeys returns the values of IndexRevoked and IndexOwed for an issuer's CRL. Each order is under one of them.
func CRLKeys(issuer, crl string) []string {
	keys := make([]string, crlGroups)
	for group := range keys {
		keys[group] = crlKey(issuer, crl, uint32(group))
	}
	return keys
}

func crlKey(issuer, crl string, group uint32) string {
	return fmt.Sprintf("%s/%s/%d", issuer, crl, group)
}

func onlyIf(condition bool, value string) []string {
	if condition {
		return []string{value}
	}
	return nil
}
