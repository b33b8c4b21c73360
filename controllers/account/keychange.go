package account

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/policy"
)

// changeKey replaces an account's key (RFC 8555 section 7.3.5). The old key must have signed the request, the new key the request
// inside it, and the new key must be claimed for the account.
func changeKey(account *v1alpha1.AcmeAccount, f facts) (v1alpha1.AcmeAccountStatus, *acme.Problem) {
	status := account.Status
	outer, problem := verify.AccountRequest(f.issuer, account, account.Spec.KeyChange, acme.KeyChangePath)
	if problem != nil {
		return status, problem
	}
	key, problem := policy.AdmitKeyChange(outer, account.Status.JWK)
	if problem != nil {
		return status, problem
	}
	switch claim := f.newKey; {
	case claim == nil, claim.Spec.KeyClaimFor == account.Name && claim.Status.State == acme.StateInvalid:
		return status, acme.NewProblem(acme.Unauthorized, "the new key isn't claimed for this account")
	case claim.Spec.KeyClaimFor != account.Name:
		return status, acme.NewProblem(acme.Malformed, "the new key belongs to account %s", claim.Name).WithStatus(409)
	}
	status.FormerThumbprints = formerThumbprints(status, key.Thumbprint())
	status.JWK, status.Thumbprint = string(key.JSON()), key.Thumbprint()
	return status, nil
}

// maxFormerThumbprints bounds the former keys of an account that are kept. draft-ietf-acme-dns-persist-02 section 4.2 has no
// bound: a client that changes its key more often must renew records that name older keys.
const maxFormerThumbprints = 32

// formerThumbprints returns the thumbprints of the keys that an account had before its next key, the newest first.
func formerThumbprints(status v1alpha1.AcmeAccountStatus, next string) []string {
	former := append([]string{status.Thumbprint}, status.FormerThumbprints...)
	former = slices.DeleteFunc(former, func(thumbprint string) bool { return thumbprint == next })
	return former[:min(len(former), maxFormerThumbprints)]
}

// decideClaim accepts or refuses the claim of a key for an account.
func decideClaim(claim *v1alpha1.AcmeAccount, f facts) step {
	wait := step{status: claim.Status}
	if claim.Status.State != v1alpha1.StateClaim { // an accepted claim stays: the account may have another key since
		if f.claimed == nil {
			if age := f.now.Sub(claim.CreationTimestamp.Time); age < kube.MissingGrace {
				wait.again = kube.MissingGrace - age // a restore may create the account after the claim
				return wait
			}
		} else if f.claimed.Status.State == acme.StatePending {
			return wait // the account's verdict triggers the next decision
		}
	}
	s := wait
	if problem := claimProblem(claim, f); problem != nil {
		s = refuse(claim.Status, "KeyClaim", problem)
	} else {
		s.status.State, s.status.Problem = v1alpha1.StateClaim, nil
	}
	s.status.ObservedGeneration = claim.Generation
	return s
}

// claimProblem verifies that the account is to have the key, or has or had it. Both keys must have signed the change: otherwise an
// ACME server could keep others from registering their keys.
func claimProblem(claim *v1alpha1.AcmeAccount, f facts) *acme.Problem {
	switch account := f.claimed; {
	case claim.Status.State == v1alpha1.StateClaim:
		return nil
	case account == nil:
		return verify.NoAccount(claim.Spec.KeyClaimFor)
	case hasOrHadKey(account, claim, f):
		return nil
	case claim.Spec.KeyChange == nil:
		return acme.NewProblem(acme.Unauthorized, "the claim has no signed key change")
	}
	outer, problem := verify.AccountRequest(f.issuer, f.claimed, claim.Spec.KeyChange, acme.KeyChangePath)
	if problem != nil {
		return problem
	}
	key, problem := policy.AdmitKeyChange(outer, f.claimed.Status.JWK)
	if problem == nil && !isNamedAfter(claim, f, key) {
		problem = acme.NewProblem(acme.Unauthorized, "the claim isn't for the key that the request names")
	}
	return problem
}

// hasOrHadKey reports whether a claim is for the account's key, as after a change that was handled before the claim, or for a
// former key, as after a restore.
func hasOrHadKey(account, claim *v1alpha1.AcmeAccount, f facts) bool {
	key, problem := jws.ParseKey([]byte(claim.Spec.JWK))
	if problem != nil || !isNamedAfter(claim, f, key) || account.Spec.IssuerRef.Name != f.issuer.Name {
		return false
	}
	return account.Status.Thumbprint == key.Thumbprint() || slices.Contains(account.Status.FormerThumbprints, key.Thumbprint())
}

// isNamedAfter reports whether an account was registered with a key, or a claim is for the key.
func isNamedAfter(object *v1alpha1.AcmeAccount, f facts, key *jws.Key) bool {
	return object.Spec.JWK == string(key.JSON()) && object.Name == v1alpha1.AccountName(f.issuer.Name, key.Thumbprint())
}
