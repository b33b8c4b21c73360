package acmeserver

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// finalize accepts the CSR of an order that is ready (RFC 8555 section 7.4), and waits briefly for the certificate. A
// refused CSR leaves the order unchanged. The same CSR again is answered with the order, so that a client whose connection
// broke can go on. RFC 8555 answers it with 403 (see docs/decisions).
func (s *Server) finalize(r *request) (*answer.Answer, error) {
	if err := r.requireIssuer(); err != nil {
		return nil, err
	}
	csr, problem := policy.AdmitFinalization(r.message)
	if problem != nil {
		return nil, problem
	}
	order, err := s.orderOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if order.Finished() { // the cache has no request of finished orders
		if order, err = s.store.Orders.GetLive(r.Context(), client.ObjectKeyFromObject(order)); err != nil {
			return nil, err
		}
	}
	if !order.Finalized() {
		if order, err = s.storeCSR(r, order, csr); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(policy.StoredCSR(order), csr) {
		return nil, acme.NewProblem(acme.OrderNotReady, "the order was already finalized with another CSR")
	}
	if order, err = s.awaitOrder(r, order); err != nil {
		return nil, err
	}
	return s.orderAnswer(r, http.StatusOK, order)
}

// storeCSR checks a CSR, and stores it in an order that is ready.
func (s *Server) storeCSR(r *request, order *v1alpha1.AcmeOrder, csr []byte) (*v1alpha1.AcmeOrder, error) {
	if err := r.requireReserve(); err != nil {
		return nil, err
	}
	if err := s.limitPendingRequest(r); err != nil {
		return nil, err
	}
	if err := s.requireReady(r, order); err != nil {
		return nil, err
	}
	if err := r.requireTerms(); err != nil {
		return nil, err
	}
	if err := s.checkCSR(r, order, csr); err != nil {
		return nil, err
	}
	key := client.ObjectKeyFromObject(order)
	patched, err := s.store.Orders.Patch(r.Context(), key, specPatch(map[string]any{
		"finalization": v1alpha1.Finalization{
			Request: *stored.Request(r.message), Time: metav1.NewTime(s.now().Truncate(time.Second)),
		},
	}))
	if errors.Is(err, store.ErrConflict) {
		if now, err := s.store.Orders.GetLive(r.Context(), key); err == nil && now.Finalized() {
			return now, nil // finalization is set once, and a concurrent request was faster
		}
	}
	return patched, err
}

// requireReady refuses to finalize an order that is not ready, or has expired.
func (s *Server) requireReady(r *request, order *v1alpha1.AcmeOrder) error {
	state, err := s.orderState(r.Context(), order)
	if err != nil {
		return err
	}
	if !s.now().Before(order.ExpiresAt(r.issuer.Spec.Lifetimes).Time) {
		state = acme.StateInvalid
	}
	if state == acme.StatePending {
		// Another replica may have shown the order as ready, and clients give an order up after this refusal.
		if state, err = s.liveOrderState(r, order); err != nil {
			return err
		}
	}
	if state != acme.StateReady {
		return acme.NewProblem(acme.OrderNotReady, "the order is %s, not ready", state)
	}
	return nil
}

// checkCSR refuses at once a CSR that the controllers would refuse.
func (s *Server) checkCSR(r *request, order *v1alpha1.AcmeOrder, csr []byte) error {
	allowed := r.policy()
	// The profile may have been removed since the order was made (draft-ietf-acme-profiles section 4).
	admitted, problem := allowed.AdmitOrder(s.termsToFinalize(order))
	if problem != nil {
		return problem
	}
	parsed, problem := allowed.AdmitCSR(csr, admitted, policy.CSROptions{AccountKey: r.key.Public(), CAKeys: r.issuer.CAKeys})
	if problem != nil {
		return problem
	}
	if err := s.checkAccountKeys(r.Context(), parsed.PublicKey); err != nil {
		return err
	}
	return s.checkCompromisedKeys(r.Context(), r.issuer, parsed.PublicKey)
}

// termsToFinalize returns the terms of an order that is finalized now.
func (s *Server) termsToFinalize(order *v1alpha1.AcmeOrder) policy.OrderTerms {
	terms := policy.StoredTerms(order, s.now())
	terms.Times.Finalized = s.now()
	return terms
}

// checkAccountKeys refuses a certificate key that is the key of an account of any issuer (RFC 8555 section 11.1).
func (s *Server) checkAccountKeys(ctx context.Context, certificateKey crypto.PublicKey) error {
	key, problem := jws.NewKey(certificateKey)
	if problem != nil {
		return nil //nolint:nilerr // no account can have such a key
	}
	accounts, err := s.store.AccountsWithKey(ctx, key.Thumbprint())
	if err != nil {
		return err
	}
	if len(accounts) > 0 {
		return policy.AccountKeyUsed()
	}
	return nil
}

// checkCompromisedKeys refuses the key of a certificate that was revoked as compromised, while its order exists. After that,
// the controllers alone know the key, and fail the order.
func (s *Server) checkCompromisedKeys(ctx context.Context, i *issuers.Issuer, key crypto.PublicKey) error {
	fingerprint, err := policy.KeyFingerprint(key)
	if err != nil {
		return acme.NewProblem(acme.BadCSR, "the CSR's key cannot be encoded")
	}
	orders, err := s.store.OrdersWithCompromisedKey(ctx, i.Key.Namespace, hex.EncodeToString(fingerprint[:]))
	if err != nil {
		return err
	}
	for _, order := range orders {
		if order.Spec.IssuerRef.Name == i.Key.Name {
			return policy.KeyCompromised()
		}
	}
	return nil
}
