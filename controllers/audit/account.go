package audit

import (
	"context"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
)

// Account logs the requests about an account that were refused, and the changes of its status since before: a new key, a new state.
func Account(ctx context.Context, before, account *v1alpha1.AcmeAccount, refusals []kube.Refusal) {
	was, is := &before.Status, &account.Status
	for _, refused := range refusals {
		write(ctx, requestRefused, accountFields(account, "", refused.Request).problem(refused.Problem))
	}
	if was.Thumbprint != "" && was.Thumbprint != is.Thumbprint {
		write(ctx, "account key changed", accountFields(account, was.Thumbprint, ""))
	}
	switch {
	case was.State == is.State:
	case is.State == acme.StateValid:
		write(ctx, "account accepted", accountFields(account, "", ""))
	case is.State == acme.StateRevoked, is.State == acme.StateDeactivated: // invalid is a refusal
		write(ctx, "account ended", accountFields(account, "", ""))
	}
}

// accountFields are those of each line about an account. oldThumbprint is that of the key before (RFC 7638); request is the kind of
// a request that was refused.
func accountFields(account *v1alpha1.AcmeAccount, oldThumbprint, request string) fields {
	return issuer(account.Namespace, account.Spec.IssuerRef.Name).text("account", account.Name).
		text("externalAccountKeyID", account.Status.ExternalAccountKeyID).text("thumbprint", account.Status.Thumbprint).
		text("oldThumbprint", oldThumbprint).text("request", request).text("state", string(account.Status.State))
}
