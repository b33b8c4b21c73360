package account

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
)

// facts are all that the decision about an account or claim depends on, beside the object. decide only reads them. Objects are
// read past the cache, so no refusal rests on a stale object.
type facts struct {
	now time.Time
	// overBudget is whether the issuer's objects use too many bytes.
	overBudget bool
	// issuer is nil if the issuer is not ready to issue.
	issuer *issuers.Issuer
	// claimed is the account that a claim is for; nil if there is none.
	claimed *v1alpha1.AcmeAccount
	// hasClaims is whether a claim points to a pending account. It is read from the cache: the cache shows no claim before the
	// status that its account had then.
	hasClaims bool
	// binding is the Secret of the external account key that a registration names; nil if there is none.
	binding *corev1.Secret
	// newKey is the object named after the new key of a key change: a claim or an account; nil if there is none.
	newKey *v1alpha1.AcmeAccount
}

// facts reads the facts about an account or claim. The requests that name objects to read are not verified yet.
func (r *Reconciler) facts(ctx context.Context, account *v1alpha1.AcmeAccount) (facts, error) {
	f := facts{now: r.Clock.Now(), overBudget: r.Budget.Exceeds(account.Namespace, account.Spec.IssuerRef.Name)}
	if !needsDecision(account) {
		return f, nil
	}
	issuer, ok := r.Issuers.ReadyToIssue(account.Namespace, account.Spec.IssuerRef.Name)
	if !ok {
		return f, nil
	}
	f.issuer = issuer
	var err error
	if account.Spec.KeyClaimFor != "" {
		f.claimed, err = kube.Read[v1alpha1.AcmeAccount](ctx, r.Live, account.Namespace, account.Spec.KeyClaimFor)
		return f, err
	}
	if account.Status.State == acme.StatePending {
		if f.hasClaims, err = r.hasClaims(ctx, account); err != nil {
			return f, err
		}
		if f.binding, err = r.bindingSecret(ctx, issuer, account); err != nil {
			return f, err
		}
	}
	if name, ok := newKeyName(issuer, account); ok {
		f.newKey, err = kube.Read[v1alpha1.AcmeAccount](ctx, r.Live, account.Namespace, name)
	}
	return f, err
}

// hasClaims reports whether a claim points to the account. Claims that were refused, and are about to be deleted, do not count.
func (r *Reconciler) hasClaims(ctx context.Context, account *v1alpha1.AcmeAccount) (bool, error) {
	claims := &v1alpha1.AcmeAccountList{}
	err := r.Client.List(ctx, claims, client.InNamespace(account.Namespace), client.MatchingFields{kube.IndexKeyClaims: account.Name})
	for _, claim := range claims.Items {
		if claim.Status.State != acme.StateInvalid && claim.Spec.IssuerRef == account.Spec.IssuerRef {
			return true, err
		}
	}
	return false, err
}

// bindingSecret reads the Secret of the external account key that a registration names, and returns nil if there is none.
func (r *Reconciler) bindingSecret(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) (*corev1.Secret, error) {
	name, ok := bindingSecretName(issuer, account)
	if !ok {
		return nil, nil
	}
	return kube.Read[corev1.Secret](ctx, r.Client, account.Namespace, name) // Secrets are not cached
}

// bindingSecretName returns the name of the Secret of the external account key that a registration names.
func bindingSecretName(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) (string, bool) {
	if account.Spec.Registration == nil {
		return "", false
	}
	message, problem := stored.Parse(account.Spec.Registration)
	if problem != nil {
		return "", false
	}
	var payload acme.AccountRequest
	if problem := acme.Unmarshal(message.Body, &payload); problem != nil {
		return "", false
	}
	binding, problem := jws.ParseExternalAccountBinding(payload.ExternalAccountBinding)
	if problem != nil {
		return "", false
	}
	return v1alpha1.ExternalAccountKeySecret(issuer.Name, binding.KeyID)
}

// newKeyName returns the name of the object that claims the new key of a key change that was not handled before.
func newKeyName(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) (string, bool) {
	asked := account.Spec.KeyChange
	if asked == nil || wasHandled(account.Status.KeyChange, asked) {
		return "", false
	}
	outer, problem := stored.Parse(asked)
	if problem != nil {
		return "", false
	}
	inner, problem := jws.ParseKeyChange(outer.Body)
	if problem != nil {
		return "", false
	}
	return v1alpha1.AccountName(issuer.Name, inner.Header.Key.Thumbprint()), true
}
