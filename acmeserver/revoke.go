package acmeserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"math"
	"math/big"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/pki"
)

// revoke revokes a certificate, for the account that ordered it, for one that is authorized for all its names, or for who
// has its key (RFC 8555 section 7.6). Which of them it is, the controllers decide; here is only looked at what can be
// seen at once.
func (s *Server) revoke(r *signed) (*answer, error) {
	var payload acme.RevocationRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	if problem := acme.CheckRevocationReason(payload.Reason); problem != nil {
		return nil, problem
	}
	order, err := s.orderWithCertificate(r, payload.Certificate)
	if err != nil {
		return nil, err
	}
	if order.Status.RevokedAt != nil {
		return nil, acme.NewProblem(acme.AlreadyRevoked, "the certificate was revoked at %s", rfc3339(*order.Status.RevokedAt))
	}
	return s.storeRevocation(r, order, payload.Reason)
}

// orderWithCertificate finds the order of a certificate. It is found by its serial number and compared as a whole: the
// number alone is the client's word.
func (s *Server) orderWithCertificate(r *signed, der []byte) (*v1alpha1.AcmeOrder, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, acme.NewProblem(acme.Malformed, "the certificate can't be read")
	}
	order, err := s.orderWithSerial(r.call, certificate.SerialNumber)
	if order == nil && err == nil && s.issuedLately(r.call, certificate) {
		order, err = s.awaitOrderWithSerial(r.call, certificate.SerialNumber)
	}
	if err != nil {
		return nil, err
	}
	if order == nil {
		return nil, notFound("certificate")
	}
	text, err := s.texts.of(r.Context(), s.orders, order)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode([]byte(text)); block == nil || !bytes.Equal(block.Bytes, der) {
		return nil, notFound("certificate")
	}
	if r.account == nil && !pki.EqualKeys(certificate.PublicKey, r.key.Public()) {
		return nil, acme.NewProblem(acme.Unauthorized, "the request is not signed with the certificate's key")
	}
	return order, nil
}

// lately is how long after a certificate's notBefore this replica may not know of it yet: notBefore is up to an hour before
// the issuance, where its client didn't ask for another, and the rest is for a watch that is far behind.
const lately = 2 * time.Hour

// issuedLately reports whether a certificate is one that the issuer has just issued. There is an order for it then, and who
// lost the answer that it came with has no nonce which would have this replica wait for that.
func (s *Server) issuedLately(c *call, certificate *x509.Certificate) bool {
	return s.now().Before(certificate.NotBefore.Add(lately)) && slices.ContainsFunc(c.issuer.authorities, func(authority *x509.Certificate) bool {
		return certificate.CheckSignatureFrom(authority) == nil
	})
}

// awaitOrderWithSerial waits a moment for the cache to tell of an order; where it doesn't, the client may try again.
func (s *Server) awaitOrderWithSerial(c *call, number *big.Int) (*v1alpha1.AcmeOrder, error) {
	timer := time.NewTimer(awaitPosition)
	defer timer.Stop()
	for {
		moved := s.orders.position.behind(math.MaxUint64)
		if order, err := s.orderWithSerial(c, number); order != nil || err != nil {
			return order, err
		}
		select {
		case <-moved:
		case <-timer.C:
			// Once more: an order may have come with a version below another's, from the watch of another namespace.
			order, err := s.orderWithSerial(c, number)
			if order == nil && err == nil {
				err = notKnownYet()
			}
			return order, err
		case <-c.Context().Done():
			return nil, notKnownYet()
		}
	}
}

func (s *Server) storeRevocation(r *signed, order *v1alpha1.AcmeOrder, reason int) (*answer, error) {
	revocation := v1alpha1.Revocation{Reason: reason, Request: stored.Request(r.message)}
	key := client.ObjectKeyFromObject(order)
	_, err := s.orders.Patch(r.Context(), key, specPatch(map[string]any{"revocation": revocation}))
	if apierrors.IsInvalid(err) {
		if now, err := s.orders.getLive(r.Context(), key); err == nil && now.Status.RevokedAt != nil {
			return nil, acme.NewProblem(acme.AlreadyRevoked, "the certificate was revoked at %s", rfc3339(*now.Status.RevokedAt))
		}
	}
	if err != nil {
		return nil, err
	}
	decided := func(o *v1alpha1.AcmeOrder) bool {
		return o.Status.RevokedAt != nil || o.Status.Revocation != nil && o.Status.Revocation.Digest == revocation.Digest()
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitVerdict)
	defer cancel()
	if order, err = s.orders.Await(ctx, key, decided); err != nil {
		return nil, err
	}
	switch {
	case !decided(order):
		return nil, unavailable("the request has not been verified yet; try again")
	case order.Status.RevokedAt == nil:
		return nil, handled(order.Status.Revocation.Problem)
	}
	return &answer{status: http.StatusOK}, nil
}
