package acmeserver

import (
	"context"
	"crypto"
	"encoding/hex"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

// compromisedKeyFault refuses the keys of certificates that were revoked as compromised, while their orders exist. After
// that the controllers alone know them, and fail the order.
func (s *Server) compromisedKeyFault(ctx context.Context, i *issuer, key crypto.PublicKey) error {
	fingerprint, err := policy.KeyFingerprint(key)
	if err != nil {
		return acme.NewProblem(acme.BadCSR, "the CSR's key cannot be encoded")
	}
	orders, err := s.orders.List(ctx, ordersByCompromisedKey, i.key.Namespace, hex.EncodeToString(fingerprint[:]))
	if err != nil {
		return err
	}
	for _, order := range orders {
		if order.Spec.IssuerRef.Name == i.key.Name {
			return acme.NewProblem(acme.BadCSR, "the certificate's key is known to be compromised; make a new one")
		}
	}
	return nil
}

// keysOf are the public keys of the CA's certificates.
func keysOf(status *v1alpha1.AcmeIssuerStatus) []crypto.PublicKey {
	text := status.CABundle + status.RetiredCertificates
	if status.IssuingCertificate != nil {
		text += status.IssuingCertificate.Chain
	}
	var keys []crypto.PublicKey
	for _, certificate := range parseCertificates([]byte(text)) {
		keys = append(keys, certificate.PublicKey)
	}
	return keys
}
