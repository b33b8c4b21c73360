package audit

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// Order logs the changes of an order's status since before: a certificate, a failure, a revocation or its refusal. account is the
// order's, or nil if there is none any more.
func Order(ctx context.Context, before, order *v1alpha1.AcmeOrder, account *v1alpha1.AcmeAccount) {
	if before.Status.State != order.Status.State {
		switch order.Status.State {
		case acme.StateValid:
			write(ctx, "certificate issued", orderFields(order, account, ""))
		case acme.StateInvalid:
			write(ctx, "order failed", orderFields(order, account, "").problem(order.Status.Problem.ACME()))
		}
	}
	handled := order.Status.Revocation
	if handled == nil || before.Status.Revocation != nil && before.Status.Revocation.Digest == handled.Digest || order.Spec.Revocation == nil {
		return
	}
	if handled.Problem != nil {
		write(ctx, requestRefused, revocationFields(order, account, "Revocation").problem(handled.Problem.ACME()))
		return
	}
	write(ctx, "certificate revoked", revocationFields(order, account, ""))
}

// orderFields are those of each line about an order. request is the kind of a request that was refused.
func orderFields(order *v1alpha1.AcmeOrder, account *v1alpha1.AcmeAccount, request string) fields {
	f := issuer(order.Namespace, order.Spec.IssuerRef.Name).text("account", order.Spec.AccountRef.Name)
	if account != nil {
		f = f.text("externalAccountKeyID", account.Status.ExternalAccountKeyID)
	}
	f = podFields(f, order.Spec.Pod).text("order", order.Name).text("request", request)
	var names []string
	for _, id := range order.Spec.Identifiers {
		names = append(names, id.Value)
	}
	return f.texts("identifiers", names).texts("grants", grantsOf(order)).text("profile", order.Spec.Profile).
		text("serial", order.Status.Serial).
		time("notBefore", timeOf(order.Status.NotBefore)).time("notAfter", timeOf(order.Status.NotAfter))
}

// grantsOf returns the names of the grants of an order, each once.
func grantsOf(order *v1alpha1.AcmeOrder) []string {
	var names []string
	for _, name := range order.Spec.Grants {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// revocationFields adds the reason, in RFC 5280's words, and whether a client or a person asked.
func revocationFields(order *v1alpha1.AcmeOrder, account *v1alpha1.AcmeAccount, request string) fields {
	by := "person"
	if order.Spec.Revocation.Request != nil {
		by = "client"
	}
	return orderFields(order, account, request).text("reason", ca.Reason(order.Spec.Revocation.Reason).String()).text("by", by)
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
