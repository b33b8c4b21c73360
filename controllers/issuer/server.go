package issuer

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/serversecrets"
)

// serve keeps the ACME server's TLS certificate up to date. The default issuer's CA signs it.
func (r *Reconciler) serve(ctx context.Context, request ctrl.Request, issuer *issuers.Issuer) error {
	if r.ServerTLS == nil || issuer.Authority == nil || request.NamespacedName != r.DefaultIssuer {
		return nil
	}
	others, err := r.otherHosts(ctx)
	if err != nil {
		return err
	}
	issuer.ServerChain, err = r.ServerTLS.Ensure(ctx, issuer, others)
	if unissuable, ok := errors.AsType[*serversecrets.UnissuableError](err); ok {
		issuer.Warn("%v", unissuable)
		return nil
	}
	return err
}

// otherHosts returns the hosts of the URLs of all issuers but the default one, those of the oldest issuer first.
func (r *Reconciler) otherHosts(ctx context.Context) ([]string, error) {
	var list v1alpha1.AcmeIssuerList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.AcmeIssuer) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	var hosts []string
	for i := range list.Items {
		object := &list.Items[i]
		if client.ObjectKeyFromObject(object) == r.DefaultIssuer || object.DeletionTimestamp != nil {
			continue
		}
		for _, text := range object.Spec.ExternalURLs {
			if u, err := url.Parse(text); err == nil {
				hosts = append(hosts, u.Hostname())
			}
		}
	}
	return hosts, nil
}

// wakeDefault requests a reconcile of the default issuer, whose CA signs the ACME server's certificate, for a change of another
// issuer's spec.
func (r *Reconciler) wakeDefault(_ context.Context, changed client.Object) []reconcile.Request {
	if r.ServerTLS == nil || client.ObjectKeyFromObject(changed) == r.DefaultIssuer {
		return nil
	}
	return []reconcile.Request{{NamespacedName: r.DefaultIssuer}}
}
