package order

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/pki"
	"github.com/acmeca/acmeca/internal/policy"
)

// decideRevoking revokes an order's certificate, or refuses the request (RFC 8555 section 7.6). Without an issuer that can revoke,
// the order waits for the issuer, or goes if there is no issuer any more.
func decideRevoking(order *v1alpha1.AcmeOrder, f facts) step {
	if f.issuer == nil {
		return step{removeFinalizer: f.issuerEnding}
	}
	handled := &v1alpha1.HandledRequest{Digest: order.Spec.Revocation.Digest()}
	if problem := revocationProblem(order, f); problem != nil {
		handled.Problem = v1alpha1.ProblemFrom(problem)
		return step{revocation: handled, problem: problem}.refusing("Revocation")
	}
	if order.DeletionTimestamp == nil && !controllerutil.ContainsFinalizer(order, v1alpha1.RevocationFinalizer) {
		return step{addFinalizer: true}
	}
	return step{
		revocation: handled, condition: notReady(v1alpha1.ReasonRevoked,
			"the certificate was revoked"),
		endAuthorizations: authorizationsToEnd(order, f),
	}
}

// authorizationsToEnd returns the valid authorizations of the account that ordered, for identifiers of the certificate. They end if
// the account was not the one that revoked, and the issuer asks for that: another client then controls the key or the names.
func authorizationsToEnd(order *v1alpha1.AcmeOrder, f facts) []v1alpha1.AcmeAuthorization {
	var ending []v1alpha1.AcmeAuthorization
	for _, authz := range f.revocation.owners {
		covers := func(id v1alpha1.Identifier) bool { return verify.Coverage(f.issuer, &authz, id.ACME()) == nil }
		if authz.Status.State == acme.StateValid && authz.Spec.IssuerRef == order.Spec.IssuerRef &&
			slices.ContainsFunc(order.Spec.Identifiers, covers) {
			ending = append(ending, authz)
		}
	}
	return ending
}

// endAuthorizations ends authorizations as revoked. The order's status is written after them, so that an interrupted step is
// repeated.
func (r *Reconciler) endAuthorizations(ctx context.Context, order *v1alpha1.AcmeOrder, ending []v1alpha1.AcmeAuthorization) error {
	for i := range ending {
		changed := ending[i].DeepCopy()
		changed.Status.State = acme.StateRevoked
		changed.Status.Problem = v1alpha1.ProblemFrom(acme.NewProblem(acme.Unauthorized,
			"the certificate with the serial number %s was revoked, but not by this account", order.Status.Serial).About(changed.Authorized()))
		if err := kube.WriteStatus(ctx, r.Client, changed, &ending[i]); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// revocationProblem verifies that the request was made by a client that may revoke the certificate. A person who asks through the
// Kubernetes API needs no signature; admission control keeps the ACME server from posing as one.
func revocationProblem(order *v1alpha1.AcmeOrder, f facts) *acme.Problem {
	request := order.Spec.Revocation.Request
	if request == nil {
		return nil
	}
	message, problem := stored.Parse(request)
	if problem != nil {
		return problem
	}
	block, _ := pem.Decode([]byte(f.revocation.certificate))
	if block == nil {
		return acme.NewProblem(acme.ServerInternal, "the order has no certificate")
	}
	payload, problem := policy.AdmitRevocation(message)
	if problem != nil {
		return problem
	}
	if !slices.Equal(payload.Certificate, block.Bytes) || payload.Reason != order.Spec.Revocation.Reason {
		return acme.NewProblem(acme.Unauthorized, "the signed request is for another certificate or reason")
	}
	if message.Header.Key != nil {
		return certificateKeyProblem(f.issuer, message, block.Bytes)
	}
	return revokingAccountProblem(order, f)
}

// certificateKeyProblem verifies a request that is signed with the certificate's own key: the jwk must be that very key.
func certificateKeyProblem(issuer *issuers.Issuer, message *jws.Message, der []byte) *acme.Problem {
	if problem := verify.SignedFor(issuer, message, acme.RevokeCertPath); problem != nil {
		return problem
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return acme.NewProblem(acme.ServerInternal, "the order's certificate can't be read")
	}
	if !pki.EqualKeys(certificate.PublicKey, message.Header.Key.Public()) {
		return acme.NewProblem(acme.Unauthorized, "the request is not signed with the certificate's key")
	}
	return message.Verify(message.Header.Key)
}

// revokingAccount returns the name of the account that signed a revocation request, by the request's own claim.
func revokingAccount(issuer *issuers.Issuer, order *v1alpha1.AcmeOrder) (string, bool) {
	message, problem := stored.Parse(order.Spec.Revocation.Request)
	if problem != nil {
		return "", false
	}
	_, path, _ := acme.Relative(issuer.Bases, message.Header.KeyID)
	return acme.AccountID(path)
}

// revokingAccountProblem verifies a request that an account signed: the account that ordered, or one that is authorized for every
// name of the certificate now.
func revokingAccountProblem(order *v1alpha1.AcmeOrder, f facts) *acme.Problem {
	if order.Spec.Pod != nil {
		return acme.NewProblem(acme.Unauthorized, "the certificate is a Pod's: an account can't revoke it, only its key or a person can")
	}
	name, ok := revokingAccount(f.issuer, order)
	if !ok {
		return acme.NewProblem(acme.Unauthorized, "the request names no account of this issuer")
	}
	account := f.revocation.account
	if account == nil {
		return verify.NoAccount(name)
	}
	if _, problem := verify.AccountRequest(f.issuer, account, order.Spec.Revocation.Request, acme.RevokeCertPath); problem != nil {
		return problem
	}
	if name == order.Spec.AccountRef.Name {
		return nil
	}
	for _, id := range order.Spec.Identifiers {
		covers := func(a v1alpha1.AcmeAuthorization) bool {
			return a.Status.State == acme.StateValid && a.Spec.IssuerRef == order.Spec.IssuerRef &&
				verify.Coverage(f.issuer, &a, id.ACME()) == nil &&
				a.Status.Expires != nil && f.now.Before(a.Status.Expires.Time)
		}
		if !slices.ContainsFunc(f.revocation.authorizations, covers) {
			return acme.NewProblem(acme.Unauthorized, "account %s is not authorized for %q", name, id.Value)
		}
	}
	// Else this account could block a key without a proof that it holds the key.
	if order.Spec.Revocation.Reason == int(ca.KeyCompromise) {
		return acme.NewProblem(acme.BadRevocationReason, "reason keyCompromise needs the ordering account or the certificate's key")
	}
	return nil
}
