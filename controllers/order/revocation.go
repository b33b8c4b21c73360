package order

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
)

// revoke revokes an order's certificate, or says why not (RFC 8555 section 7.6).
func (r *Reconciler) revoke(ctx context.Context, issuer *issuers.Issuer, order *v1alpha1.AcmeOrder) error {
	problem, err := r.verifyRevocation(ctx, issuer, order)
	if err != nil {
		return err
	}
	if problem == nil && order.DeletionTimestamp == nil && !controllerutil.ContainsFinalizer(order, v1alpha1.RevocationFinalizer) {
		return kube.AddFinalizer(ctx, r.Client, order) // whose event brings the order back here
	}
	order.Status.Revocation = &v1alpha1.HandledRequest{Digest: order.Spec.Revocation.Digest(), Problem: v1alpha1.ProblemFrom(problem)}
	if problem != nil {
		r.Events.Eventf(order, nil, "Warning", "RevocationRefused", "Revoke", "%s", problem.Error())
		return nil
	}
	now := metav1.NewTime(r.Clock.Now())
	order.Status.RevokedAt = &now
	r.setReady(order, metav1.ConditionFalse, v1alpha1.ReasonRevoked, "the certificate was revoked")
	return nil
}

// verifyRevocation verifies that one who may revoke the certificate asked for it. A person who asks through the
// Kubernetes API needs no signature; admission control keeps the ACME server from passing for one.
func (r *Reconciler) verifyRevocation(ctx context.Context, issuer *issuers.Issuer, order *v1alpha1.AcmeOrder) (*acme.Problem, error) {
	request := order.Spec.Revocation.Request
	if request == nil {
		return nil, nil
	}
	message, problem := stored.Parse(request)
	if problem != nil {
		return problem, nil
	}
	// The cache holds no certificates.
	full := &v1alpha1.AcmeOrder{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(order), full); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(full.Status.Certificate))
	if block == nil {
		return acme.NewProblem(acme.ServerInternal, "the order has no certificate"), nil
	}
	var payload acme.RevocationRequest
	if problem := acme.Unmarshal(message.Body, &payload); problem != nil {
		return problem, nil
	}
	if !slices.Equal(payload.Certificate, block.Bytes) || payload.Reason != order.Spec.Revocation.Reason {
		return acme.NewProblem(acme.Unauthorized, "the signed request is for another certificate or reason"), nil
	}
	if message.Header.Key != nil {
		return verifyCertificateKey(issuer, message, block.Bytes), nil
	}
	return r.verifyRevokingAccount(ctx, issuer, order, request, message)
}

// verifyCertificateKey verifies a request that is signed with the certificate's own key: the jwk must be that very key.
func verifyCertificateKey(issuer *issuers.Issuer, message *jws.Message, der []byte) *acme.Problem {
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

// verifyRevokingAccount verifies a request that an account signed: the one that ordered, or one that is authorized for
// every name of the certificate now.
func (r *Reconciler) verifyRevokingAccount(ctx context.Context, issuer *issuers.Issuer, order *v1alpha1.AcmeOrder, request *v1alpha1.SignedRequest, message *jws.Message) (*acme.Problem, error) {
	_, path, _ := acme.Relative(issuer.Bases, message.Header.KeyID)
	name, ok := acme.AccountID(path)
	if !ok {
		return acme.NewProblem(acme.Unauthorized, "the request names no account of this issuer"), nil
	}
	account := &v1alpha1.AcmeAccount{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: name}, account); apierrors.IsNotFound(err) {
		return acme.NewProblem(acme.AccountDoesNotExist, "there is no account %s", name), nil
	} else if err != nil {
		return nil, err
	}
	if _, problem := verify.AccountRequest(issuer, account, request, acme.RevokeCertPath); problem != nil {
		return problem, nil
	}
	if name == order.Spec.AccountRef.Name {
		return nil, nil
	}
	var authorizations v1alpha1.AcmeAuthorizationList
	if err := r.Client.List(ctx, &authorizations, client.InNamespace(order.Namespace), client.MatchingFields{kube.IndexAccount: name}); err != nil {
		return nil, err
	}
	now := r.Clock.Now()
	for _, id := range order.Spec.Identifiers {
		covers := func(a v1alpha1.AcmeAuthorization) bool {
			return a.Status.State == acme.StateValid && a.Spec.IssuerRef == order.Spec.IssuerRef && verify.Coverage(issuer, &a, id.ACME()) == nil &&
				a.Status.Expires != nil && now.Before(a.Status.Expires.Time)
		}
		if !slices.ContainsFunc(authorizations.Items, covers) {
			return acme.NewProblem(acme.Unauthorized, "account %s is not authorized for %q", name, id.Value), nil
		}
	}
	// Its word would block a key for others of which it has proved nothing.
	if order.Spec.Revocation.Reason == int(ca.KeyCompromise) {
		return acme.NewProblem(acme.BadRevocationReason, "only who ordered the certificate, or has its key, can say that the key is compromised"), nil
	}
	return nil, nil
}
