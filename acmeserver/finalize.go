package acmeserver

import (
	"bytes"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// finalize takes the CSR of an order that is ready (RFC 8555 section 7.4), and waits a moment for the certificate. A CSR
// that won't do leaves the order as it is. One that was sent before is answered with the order, so that a client whose
// connection broke isn't stuck; docs/decisions says why that is not the RFC's 403.
func (s *Server) finalize(r *signed) (*answer, error) {
	if err := r.issuing(); err != nil {
		return nil, err
	}
	csr, err := finalizeCSR(r)
	if err != nil {
		return nil, err
	}
	order, err := s.orderOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if finished(order) { // of which the cache has no CSR
		if order, err = s.orders.getLive(r.Context(), client.ObjectKeyFromObject(order)); err != nil {
			return nil, err
		}
	}
	if order.Spec.CSR == "" {
		if order, err = s.storeCSR(r, order, csr); err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(order.CSRBytes(), csr) {
		return nil, acme.NewProblem(acme.OrderNotReady, "the order was finalized before, with another CSR")
	}
	if order, err = s.awaitOrder(r, order); err != nil {
		return nil, err
	}
	return s.orderAnswer(r, http.StatusOK, order)
}

func finalizeCSR(r *signed) ([]byte, error) {
	if r.message.IsPOSTAsGET() {
		return nil, acme.NewProblem(acme.Malformed, "a finalize request has a CSR")
	}
	csr, problem := acme.FinalizeCSR(r.message.Body)
	if problem != nil {
		return nil, problem
	}
	return csr, nil
}

// storeCSR checks a CSR and stores it in an order that is ready.
func (s *Server) storeCSR(r *signed, order *v1alpha1.AcmeOrder, csr []byte) (*v1alpha1.AcmeOrder, error) {
	state, err := s.orderState(r, order)
	if err != nil {
		return nil, err
	}
	if !s.now().Before(order.ExpiresAt(r.issuer.spec.Lifetimes).Time) {
		state = acme.StateInvalid
	}
	if state == acme.StatePending {
		// Another replica may have told the client otherwise, and clients take the refusal for the order's end.
		if state, err = s.orderStateNow(r, order); err != nil {
			return nil, err
		}
	}
	if state != acme.StateReady {
		return nil, acme.NewProblem(acme.OrderNotReady, "the order is %s, not ready", state)
	}
	if err := r.agreeing(); err != nil {
		return nil, err
	}
	identifiers := order.Names()
	allowed := r.policy()
	profile, problem := allowed.Profile(order.Spec.Profile)
	if problem != nil {
		return nil, problem // it was taken away since (draft-ietf-acme-profiles section 4)
	}
	options := policy.CSROptions{AccountKey: r.key.Public(), CAKeys: r.issuer.caKeys, KeyAlgorithms: profile.KeyAlgorithms}
	parsed, problem := policy.ParseCSR(csr, identifiers, options)
	if problem != nil {
		return nil, problem
	}
	if err := s.accountKeyFault(r.Context(), parsed.PublicKey); err != nil {
		return nil, err
	}
	if err := s.compromisedKeyFault(r.Context(), r.issuer, parsed.PublicKey); err != nil {
		return nil, err
	}
	if problem := allowed.Rules(identifiers, profile.Name, parsed); problem != nil {
		return nil, problem
	}
	key := client.ObjectKeyFromObject(order)
	patched, err := s.orders.Patch(r.Context(), key, specPatch(map[string]any{
		"csr": v1alpha1.EncodeCSR(csr),
		"finalization": v1alpha1.Finalization{
			Request: *stored.Request(r.message), Time: metav1.NewTime(s.now().Truncate(time.Second)),
		},
	}))
	if apierrors.IsInvalid(err) {
		if now, err := s.orders.getLive(r.Context(), key); err == nil && now.Spec.CSR != "" {
			return now, nil // csr is set once, and another request was quicker
		}
	}
	return patched, err
}
