package controllers

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The fields by which the cache is searched.
const (
	// indexAccount finds authorizations by account.
	indexAccount = "spec.accountRef.name"
	// indexAuthorizations finds unfinished orders by the authorizations that they name.
	indexAuthorizations = "spec.authorizations"
	// indexThumbprint finds accounts by their key.
	indexThumbprint = "status.thumbprint"
	// indexUnsettled finds unfinished objects by issuer.
	indexUnsettled = "unsettled"
	// indexUnfinishedOf finds unfinished orders and authorizations by account.
	indexUnfinishedOf = "account/unfinished"
	// indexCompromised finds orders by issuer and key, if the certificate was revoked because its key is compromised.
	indexCompromised = "compromised"
	// indexReplaces finds orders by issuer and the ARI identifier of the certificate that they replace.
	indexReplaces = "replaces"
	// indexRevoked finds revoked orders by issuer and CRL shard.
	indexRevoked = "revoked"
)

// addIndexes adds to the cache the indexes that the controllers search it by.
func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		kind  client.Object
		field string
		value client.IndexerFunc
	}{
		{&v1alpha1.AcmeAuthorization{}, indexAccount, func(o client.Object) []string {
			return []string{o.(*v1alpha1.AcmeAuthorization).Spec.AccountRef.Name}
		}},
		{&v1alpha1.AcmeOrder{}, indexAuthorizations, func(o client.Object) []string {
			if order := o.(*v1alpha1.AcmeOrder); unsettledOrder(order) {
				return order.Spec.Authorizations
			}
			return nil
		}},
		{&v1alpha1.AcmeAuthorization{}, indexUnfinishedOf, func(o client.Object) []string {
			authz := o.(*v1alpha1.AcmeAuthorization)
			return onlyIf(!authz.Status.State.Final(), authz.Spec.AccountRef.Name)
		}},
		{&v1alpha1.AcmeOrder{}, indexUnfinishedOf, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(unsettledOrder(order), order.Spec.AccountRef.Name)
		}},
		{&v1alpha1.AcmeAccount{}, indexThumbprint, func(o client.Object) []string {
			thumbprint := o.(*v1alpha1.AcmeAccount).Status.Thumbprint
			return onlyIf(thumbprint != "", thumbprint)
		}},
		{&v1alpha1.AcmeAccount{}, indexUnsettled, func(o client.Object) []string {
			account := o.(*v1alpha1.AcmeAccount)
			return onlyIf(account.Status.ObservedGeneration != account.Generation, account.Spec.IssuerRef.Name)
		}},
		{&v1alpha1.AcmeAuthorization{}, indexUnsettled, func(o client.Object) []string {
			authz := o.(*v1alpha1.AcmeAuthorization)
			return onlyIf(!authz.Status.State.Final(), authz.Spec.IssuerRef.Name)
		}},
		{&v1alpha1.AcmeOrder{}, indexCompromised, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			key := order.CompromisedKey()
			return onlyIf(key != "", order.Spec.IssuerRef.Name+"/"+key)
		}},
		{&v1alpha1.AcmeOrder{}, indexReplaces, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(order.Spec.Replaces != "", order.Spec.IssuerRef.Name+"/"+order.Spec.Replaces)
		}},
		{&v1alpha1.AcmeOrder{}, indexRevoked, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(order.Status.RevokedAt != nil, order.Spec.IssuerRef.Name+"/"+order.Status.CRL)
		}},
		{&v1alpha1.AcmeOrder{}, indexUnsettled, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(unsettledOrder(order) || revocationPending(order), order.Spec.IssuerRef.Name)
		}},
	} {
		if err := indexer.IndexField(ctx, index.kind, index.field, index.value); err != nil {
			return fmt.Errorf("index %s: %w", index.field, err)
		}
	}
	return nil
}

func onlyIf(condition bool, value string) []string {
	if condition {
		return []string{value}
	}
	return nil
}
