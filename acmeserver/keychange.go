package acmeserver

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// keyChange gives an account another key (RFC 8555 section 7.3.5). The new key is claimed by an object that is named after
// it, so that it can't become the key of two accounts, however close the requests.
func (s *Server) keyChange(r *signed) (*answer, error) {
	if r.message.IsPOSTAsGET() {
		return nil, acme.NewProblem(acme.Malformed, "a key change has the request of the new key as its payload")
	}
	key, problem := policy.KeyChange(r.message, r.account.Status.JWK)
	if problem != nil {
		return nil, problem
	}
	name := types.NamespacedName{Namespace: r.account.Namespace, Name: v1alpha1.AccountName(r.issuer.key.Name, key.Thumbprint())}
	claim := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef: r.account.Spec.IssuerRef, JWK: string(key.JSON()), KeyClaimFor: r.account.Name,
		KeyChange: stored.Request(r.message),
	}}
	claim.Namespace, claim.Name = name.Namespace, name.Name
	if err := s.accounts.Create(r.Context(), claim); apierrors.IsAlreadyExists(err) {
		holder, err := s.accounts.Get(r.Context(), name)
		if err != nil {
			return nil, err
		}
		if holder.Spec.KeyClaimFor != r.account.Name {
			return nil, keyTaken(r, holder)
		}
	} else if err != nil {
		return nil, err
	}
	spec := map[string]any{"keyChange": stored.Request(r.message)}
	account, err := s.changeAccount(r, spec, func(status *v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return status.KeyChange })
	if err != nil {
		return nil, err
	}
	return r.accountAnswer(http.StatusOK, account), nil
}

// keyTaken says which account has the key already.
func keyTaken(r *signed, holder *v1alpha1.AcmeAccount) error {
	id := holder.Name
	if holder.Spec.KeyClaimFor != "" {
		id = holder.Spec.KeyClaimFor
	}
	problem := acme.NewProblem(acme.Malformed, "the new key belongs to another account").WithStatus(http.StatusConflict)
	return &locatedProblem{Problem: problem, location: r.url(acme.AccountPath(id))}
}
