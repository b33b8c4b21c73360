// Package verify verifies the signed requests that are stored in the API objects, against the key that an account has, and
// returns the problems that several controllers report.
package verify

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// The controllers verify every stored request themselves: the ACME server that stored it may be captured. Each of these functions
// returns a problem unless the client signed the request.

// AccountRequest verifies that an account signed a request for the resource at path (RFC 8555 sections 6.2 and 6.4), with its
// current key.
func AccountRequest(
	issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, request *v1alpha1.SignedRequest, path string,
) (*jws.Message, *acme.Problem) {
	if account.Status.State != acme.StateValid {
		return nil, acme.NewProblem(acme.Unauthorized, "account %s is not valid", account.Name)
	}
	if account.Spec.IssuerRef.Name != issuer.Name {
		return nil, acme.NewProblem(acme.Unauthorized, "account %s belongs to another issuer", account.Name)
	}
	message, problem := stored.Parse(request)
	if problem != nil {
		return nil, problem
	}
	if problem := SignedFor(issuer, message, path); problem != nil {
		return nil, problem
	}
	_, kid, ok := acme.Relative(issuer.Bases, message.Header.KeyID)
	if !ok || kid != acme.AccountPath(account.Name) {
		return nil, acme.NewProblem(acme.Unauthorized, "the request is not signed by account %s", account.Name)
	}
	key, problem := AccountKey(account)
	if problem != nil {
		return nil, problem
	}
	if problem := message.Verify(key); problem != nil {
		return nil, problem
	}
	return message, nil
}

// NewerAccount returns the stored account if it differs from the cached one, and else nil: the account watch may lag behind the
// watch of the signed objects, and still show the old key.
func NewerAccount(ctx context.Context, live client.Reader, cached *v1alpha1.AcmeAccount) (*v1alpha1.AcmeAccount, error) {
	account := &v1alpha1.AcmeAccount{}
	if err := live.Get(ctx, client.ObjectKeyFromObject(cached), account); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if account.ResourceVersion == cached.ResourceVersion {
		return nil, nil
	}
	return account, nil
}

// SignedFor verifies that a message was signed for one of the issuer's paths.
func SignedFor(issuer *issuers.Issuer, message *jws.Message, paths ...string) *acme.Problem {
	_, path, ok := acme.Relative(issuer.Bases, message.Header.URL)
	for _, want := range paths {
		if ok && path == want {
			return nil
		}
	}
	return acme.NewProblem(acme.Unauthorized, "the request was signed for another URL, %q", acme.Printable(message.Header.URL, 256))
}

// Deactivation verifies that an account asked to deactivate the resource at path. A person's request through the Kubernetes API
// needs no signature: admission control keeps the ACME server from making one.
func Deactivation(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, d *v1alpha1.Deactivation, path string) *acme.Problem {
	if d.Request == nil {
		return nil
	}
	message, problem := AccountRequest(issuer, account, d.Request, path)
	if problem != nil {
		return problem
	}
	return policy.AdmitDeactivation(message)
}

// Response verifies that the account accepted a challenge (RFC 8555 section 7.5.1) that the issuer offers.
func Response(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, authz *v1alpha1.AcmeAuthorization) *acme.Problem {
	response := authz.Spec.Response
	message, problem := AccountRequest(issuer, account, &response.Request, acme.ChallengePath(authz.Name, response.Type))
	if problem != nil {
		return problem
	}
	if problem := policy.AdmitResponse(message); problem != nil { // such as a POST-as-GET: a client polls the same URL
		return problem
	}
	return Offer(issuer, account, authz)
}

// Offer verifies that the issuer offers the account the accepted challenge now: the ACME server wrote the authorization's
// challenges.
func Offer(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, authz *v1alpha1.AcmeAuthorization) *acme.Problem {
	response := authz.Spec.Response
	allowed := issuer.Policy.ForAccount(account)
	identifier, problem := allowed.AdmitIdentifier(authz.Authorized())
	if problem != nil {
		return problem
	}
	if !slices.Contains(allowed.Challenges(identifier), response.Type) {
		return acme.NewProblem(acme.Unauthorized, "this issuer doesn't offer %s for %q", response.Type, identifier.Value)
	}
	return nil
}

// Finalization verifies that the account asked to finalize the order, and returns the DER of the CSR that it signed.
func Finalization(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, order *v1alpha1.AcmeOrder) ([]byte, *acme.Problem) {
	message, problem := AccountRequest(issuer, account, &order.Spec.Finalization.Request, acme.FinalizePath(order.Name))
	if problem != nil {
		return nil, problem
	}
	return policy.AdmitFinalization(message)
}

// accountKeys caches parsed account keys.
var accountKeys jws.KeyCache

// AccountKey returns the current key of an account.
func AccountKey(account *v1alpha1.AcmeAccount) (*jws.Key, *acme.Problem) {
	return accountKeys.Parse(account.Status.JWK)
}
