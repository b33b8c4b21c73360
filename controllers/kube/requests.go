package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// RequestsFor lists objects in the cache, and returns a request for each.
func RequestsFor(ctx context.Context, reader client.Reader, list client.ObjectList, options ...client.ListOption) []reconcile.Request {
	options = append(options, client.UnsafeDisableDeepCopy)
	if err := reader.List(ctx, list, options...); err != nil {
		logf.FromContext(ctx).Error(err, "can't list what is to be reconciled")
		return nil
	}
	var requests []reconcile.Request
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		object := item.(client.Object)
		key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
		requests = append(requests, reconcile.Request{NamespacedName: key})
		return nil
	})
	return requests
}

// OfIssuer maps an issuer to its unfinished objects of a kind.
func OfIssuer(reader client.Reader, kind client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, issuer client.Object) []reconcile.Request {
		return RequestsFor(ctx, reader, kind.DeepCopyObject().(client.ObjectList), client.InNamespace(issuer.GetNamespace()),
			client.MatchingFields{IndexUnfinishedOfIssuer: issuer.GetName()})
	})
}

// OfEndedAccount maps an account in a final state to its unfinished objects of a kind.
func OfEndedAccount(reader client.Reader, kind client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, account client.Object) []reconcile.Request {
		if !account.(*v1alpha1.AcmeAccount).Finished() {
			return nil
		}
		return RequestsFor(ctx, reader, kind.DeepCopyObject().(client.ObjectList), client.InNamespace(account.GetNamespace()),
			client.MatchingFields{IndexUnfinishedOfAccount: account.GetName()})
	})
}
