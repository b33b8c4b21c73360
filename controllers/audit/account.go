package audit

import (
	"context"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Account logs the changes of an account's status since before: requests that were refused, a new key, a new state.
func Account(ctx context.Context, before, account *v1alpha1.AcmeAccount) {
	was, is := &before.Status, &account.Status
	for _, r := range []struct {
		kind    string
		was, is *v1alpha1.HandledRequest
	}{
		{"Update", was.Update, is.Update},
		{"KeyChange", was.KeyChange, is.KeyChange},
		{"Deactivation", was.Deactivation, is.Deactivation},
	} {
		if r.is != nil && r.is.Problem != nil && (r.was == nil || r.was.Digest != r.is.Digest) {
			AccountRefused(ctx, account, r.kind, r.is.Problem.ACME())
		}
	}
	if was.Thumbprint != "" && was.Thumbprint != is.Thumbprint {
		write(ctx, "account key changed", accountFields(account, was.Thumbprint, ""))
	}
	switch {
	case was.State == is.State:
	case is.State == acme.StateValid:
		write(ctx, "account accepted", accountFields(account, "", ""))
	case is.State == acme.StateInvalid && account.Spec.KeyClaimFor != "":
		AccountRefused(ctx, account, "KeyClaim", is.Problem.ACME())
	case is.State == acme.StateInvalid:
		AccountRefused(ctx, account, "Registration", is.Problem.ACME())
	case is.State.Final():
		write(ctx, "account ended", accountFields(account, "", ""))
	}
}

// AccountRefused logs that a client's request about an account was refused. kind is the kind of the request.
func AccountRefused(ctx context.Context, account *v1alpha1.AcmeAccount, kind string, problem *acme.Problem) {
	write(ctx, requestRefused, accountFields(account, "", kind).problem(problem))
}

// accountFields are those of each line about an account. oldThumbprint is that of the key before (RFC 7638); request is the kind of
// a request that was refused.
func accountFields(account *v1alpha1.AcmeAccount, oldThumbprint, request string) fields {
	return issuer(account.Namespace, account.Spec.IssuerRef.Name).text("account", account.Name).
		text("externalAccountKeyID", account.Status.ExternalAccountKeyID).text("thumbprint", account.Status.Thumbprint).
		text("oldThumbprint", oldThumbprint).text("request", request).text("state", string(account.Status.State))
}
