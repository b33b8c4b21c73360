package account

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/policy"
)

// handleKeyChange carries out a key change, unless it was looked at before.
func (r *Reconciler) handleKeyChange(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) error {
	var err error
	r.handle(account, "KeyChange", account.Spec.KeyChange, &account.Status.KeyChange, func(request *v1alpha1.SignedRequest) *acme.Problem {
		var problem *acme.Problem
		problem, err = r.changeKey(ctx, issuer, account, request)
		return problem
	})
	return err
}

// changeKey gives an account another key (RFC 8555 section 7.3.5): the old key must sign the request, the new one the
// request in it, and the new key must be claimed for this account.
func (r *Reconciler) changeKey(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, request *v1alpha1.SignedRequest) (*acme.Problem, error) {
	outer, problem := verify.AccountRequest(issuer, account, request, acme.KeyChangePath)
	if problem != nil {
		return problem, nil
	}
	key, problem := policy.KeyChange(outer, account.Status.JWK)
	if problem != nil {
		return problem, nil
	}
	// The claim was made a moment before the request was stored, so the cache may be behind.
	claim := &v1alpha1.AcmeAccount{}
	name := client.ObjectKey{Namespace: account.Namespace, Name: v1alpha1.AccountName(issuer.Name, key.Thumbprint())}
	switch err := r.Live.Get(ctx, name, claim); {
	case client.IgnoreNotFound(err) != nil:
		return nil, err
	case err != nil, claim.Spec.KeyClaimFor == account.Name && claim.Status.State == acme.StateInvalid:
		return acme.NewProblem(acme.Unauthorized, "the new key isn't claimed for this account"), nil
	case claim.Spec.KeyClaimFor != account.Name:
		return acme.NewProblem(acme.Malformed, "the new key belongs to account %s", claim.Name).WithStatus(409), nil
	}
	account.Status.FormerThumbprints = formerThumbprints(account, key.Thumbprint())
	account.Status.JWK, account.Status.Thumbprint = string(key.JSON()), key.Thumbprint()
	return nil, nil
}

// maxFormerThumbprints bounds the keys of an account that are remembered. draft-ietf-acme-dns-persist-02 section 4.2 knows
// no bound; who changes keys more often has to renew records that old.
const maxFormerThumbprints = 32

// formerThumbprints are the keys that an account had before it gets the next one, the newest first.
func formerThumbprints(account *v1alpha1.AcmeAccount, next string) []string {
	former := append([]string{account.Status.Thumbprint}, account.Status.FormerThumbprints...)
	former = slices.DeleteFunc(former, func(thumbprint string) bool { return thumbprint == next })
	return former[:min(len(former), maxFormerThumbprints)]
}

// judgeClaim accepts or refuses the claim of a key for an account.
func (r *Reconciler) judgeClaim(ctx context.Context, issuer *issuers.Issuer, claim *v1alpha1.AcmeAccount) error {
	if claim.Status.State == v1alpha1.StateClaim {
		return nil // the account may have yet another key by now
	}
	problem, err := r.verifyClaim(ctx, issuer, claim)
	if err != nil {
		return err
	}
	if problem != nil {
		claim.Status.State, claim.Status.Problem = acme.StateInvalid, v1alpha1.ProblemFrom(problem)
		r.refused(claim, "KeyClaim", problem)
		return nil
	}
	claim.Status.State = v1alpha1.StateClaim
	return nil
}

// verifyClaim verifies that the account is to have the key: both of its keys signed so. Otherwise an ACME server could keep
// others from registering a key of theirs.
func (r *Reconciler) verifyClaim(ctx context.Context, issuer *issuers.Issuer, claim *v1alpha1.AcmeAccount) (*acme.Problem, error) {
	account := &v1alpha1.AcmeAccount{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: claim.Namespace, Name: claim.Spec.KeyClaimFor}, account)
	switch {
	case apierrors.IsNotFound(err):
		return acme.NewProblem(acme.AccountDoesNotExist, "there is no account %s", claim.Spec.KeyClaimFor), nil
	case err != nil:
		return nil, err
	case claims(claim, issuer, account.Status.JWK): // the change was quicker
		return nil, nil
	case claim.Spec.KeyChange == nil:
		return acme.NewProblem(acme.Unauthorized, "the claim has no signed key change"), nil
	}
	outer, problem := verify.AccountRequest(issuer, account, claim.Spec.KeyChange, acme.KeyChangePath)
	if problem != nil {
		return problem, nil
	}
	key, problem := policy.KeyChange(outer, account.Status.JWK)
	if problem == nil && !claims(claim, issuer, string(key.JSON())) {
		problem = acme.NewProblem(acme.Unauthorized, "the claim isn't for the key that the request names")
	}
	return problem, nil
}

// claims reports whether a claim is for that key.
func claims(claim *v1alpha1.AcmeAccount, issuer *issuers.Issuer, jwk string) bool {
	key, problem := jws.ParseKey([]byte(jwk))
	return problem == nil && claim.Spec.JWK == jwk && claim.Name == v1alpha1.AccountName(issuer.Name, key.Thumbprint())
}
