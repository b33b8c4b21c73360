package authorization

import (
	"context"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
)

// facts are all that the decision about an authorization depends on, beside the authorization. decide only reads them.
type facts struct {
	now time.Time
	// overBudget is whether the issuer's objects use too many bytes.
	overBudget bool
	// issuer is nil if the issuer is not ready to issue.
	issuer *issuers.Issuer
	// issuerEnding is whether the issuer is gone or being deleted. It is read only for a pending authorization without an issuer.
	issuerEnding bool
	// account is nil if the cache does not have it.
	account *v1alpha1.AcmeAccount
	// attempt is the newest attempt at the authorization for the account.
	attempt attempts.Attempt
}

// facts reads the facts about an authorization from the cache.
func (r *Reconciler) facts(ctx context.Context, authz *v1alpha1.AcmeAuthorization) (facts, error) {
	f := facts{now: r.Clock.Now(), overBudget: r.Budget.Exceeds(authz.Namespace, authz.Spec.IssuerRef.Name)}
	issuer, ok := r.Issuers.ReadyToIssue(authz.Namespace, authz.Spec.IssuerRef.Name)
	if !ok {
		if authz.Status.State != acme.StatePending {
			return f, nil
		}
		var err error
		f.issuerEnding, err = kube.IssuerEnding(ctx, r.Client, r.Live, authz.Namespace, authz.Spec.IssuerRef.Name)
		return f, err
	}
	f.issuer = issuer
	account, err := kube.Read[v1alpha1.AcmeAccount](ctx, r.Client, authz.Namespace, authz.Spec.AccountRef.Name)
	if err != nil || account == nil {
		return f, err
	}
	return r.withAccount(f, authz, account), nil
}

// liveFacts returns the facts with the stored account, and whether that account is newer than the cached one.
func (r *Reconciler) liveFacts(ctx context.Context, authz *v1alpha1.AcmeAuthorization, f facts) (facts, bool, error) {
	account, err := verify.NewerAccount(ctx, r.Live, f.account)
	if account == nil || err != nil {
		return f, false, err
	}
	return r.withAccount(f, authz, account), true, nil
}

// withAccount returns the facts with an account, and with the newest attempt for the account.
func (r *Reconciler) withAccount(f facts, authz *v1alpha1.AcmeAuthorization, account *v1alpha1.AcmeAccount) facts {
	f.account, f.attempt = account, r.Attempts.Newest(authz, account)
	return f
}
