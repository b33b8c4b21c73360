package acmeserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/pki"
	"github.com/acmeca/acmeca/internal/policy"
)

// revoke revokes a certificate (RFC 8555 section 7.6). The account that ordered the certificate may ask for it, an account
// that is authorized for all its names, and the holder of its key. The controllers decide whether the signer is one of them;
// the server refuses only requests that it can tell are wrong.
func (s *Server) revoke(r *request) (*answer.Answer, error) {
	payload, problem := policy.AdmitRevocation(r.message)
	if problem != nil {
		return nil, problem
	}
	order, err := s.orderToRevoke(r, payload.Certificate)
	if err != nil {
		return nil, err
	}
	if order.Status.RevokedAt != nil {
		return nil, alreadyRevoked(order)
	}
	unlock, err := s.lockLimit(r.Context(), r.issuer.Spec.RateLimits.Revocations, "revocations", order.Namespace, order.Spec.AccountRef.Name)
	if err != nil {
		return nil, err
	}
	revocation, err := s.storeRevocation(r, order, payload.Reason)
	unlock()
	if err != nil {
		return nil, err
	}
	return s.awaitRevocation(r, order, revocation)
}

func alreadyRevoked(order *v1alpha1.AcmeOrder) error {
	return acme.NewProblem(acme.AlreadyRevoked, "the certificate was revoked at %s", rfc3339(*order.Status.RevokedAt))
}

// orderToRevoke returns the order of a certificate. The certificate is found by its serial number, and compared as a whole:
// anyone can put a number into a certificate.
func (s *Server) orderToRevoke(r *request, der []byte) (*v1alpha1.AcmeOrder, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, acme.NewProblem(acme.Malformed, "the certificate cannot be parsed")
	}
	order, err := s.store.OrderWithSerial(r.Context(), r.issuer.Key, certificate.SerialNumber)
	if err != nil {
		return nil, err
	}
	stored, err := s.store.Certificate(r.Context(), order)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode([]byte(stored.PEM)); block == nil || !bytes.Equal(block.Bytes, der) {
		return nil, store.NotFound("certificate")
	}
	if r.account == nil && !pki.EqualKeys(certificate.PublicKey, r.key.Public()) {
		return nil, acme.NewProblem(acme.Unauthorized, "the request is not signed with the certificate's key")
	}
	return order, nil
}

// revocationPatch returns the patch that requests a revocation. It adds the finalizer that keeps the order for the CRL, unless
// other finalizers would be replaced: then the controllers add it.
func revocationPatch(order *v1alpha1.AcmeOrder, revocation *v1alpha1.Revocation) []byte {
	metadata := maps.Clone(withoutManagedFields)
	if len(order.Finalizers) == 0 {
		metadata["finalizers"] = []string{v1alpha1.RevocationFinalizer}
	}
	return mustPatch(metadata, map[string]any{"revocation": revocation})
}

// storeRevocation stores a revocation request, if the rate limit allows it.
func (s *Server) storeRevocation(r *request, order *v1alpha1.AcmeOrder, reason int) (*v1alpha1.Revocation, error) {
	if err := s.limitRevocations(r, order); err != nil {
		return nil, err
	}
	revocation := &v1alpha1.Revocation{Reason: reason, Request: stored.Request(r.message)}
	key := client.ObjectKeyFromObject(order)
	_, err := s.store.Orders.Patch(r.Context(), key, revocationPatch(order, revocation))
	if errors.Is(err, store.ErrConflict) {
		if now, err := s.store.Orders.GetLive(r.Context(), key); err == nil && now.Status.RevokedAt != nil {
			return nil, alreadyRevoked(now)
		}
	}
	return revocation, err
}

// awaitRevocation waits until the controllers have carried out a revocation request or refused it.
func (s *Server) awaitRevocation(r *request, order *v1alpha1.AcmeOrder, revocation *v1alpha1.Revocation) (*answer.Answer, error) {
	decided := func(o *v1alpha1.AcmeOrder) bool {
		return o.Status.RevokedAt != nil || o.Status.Revocation != nil && o.Status.Revocation.Digest == revocation.Digest()
	}
	ctx, cancel := context.WithTimeout(r.Context(), verdictTimeout)
	defer cancel()
	order, err := s.store.Orders.Await(ctx, client.ObjectKeyFromObject(order), decided)
	if err != nil {
		return nil, err
	}
	switch {
	case !decided(order):
		return nil, errNotVerifiedYet()
	case order.Status.RevokedAt == nil:
		return nil, refusal(order.Status.Revocation.Problem)
	}
	return &answer.Answer{Status: http.StatusOK}, nil
}
