package issuers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// ParseCertificates returns the certificates in PEM text. It skips blocks that are not certificates.
func ParseCertificates(text []byte) []*x509.Certificate {
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return certificates
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			certificates = append(certificates, certificate)
		}
	}
}

// WholeChain returns the PEM of a certificate with its chain. If the chain is not known any more, as after a restore of objects without
// status, it is the CA certificate that signed.
func (s *Issuers) WholeChain(ctx context.Context, i *Issuer, certificate store.Certificate) ([]byte, error) {
	order := &v1alpha1.AcmeOrderStatus{Chain: certificate.Chain}
	chain, ok := i.Status.ChainOf(order)
	if !ok { // the cache may lag behind that of orders
		status, err := s.getLive(ctx, i.Key)
		if err != nil {
			return nil, err
		}
		chain, ok = status.ChainOf(order)
	}
	if !ok {
		chain = i.signerOf(certificate.PEM)
	}
	return []byte(certificate.PEM + chain), nil
}

// signerOf returns the PEM of the CA certificate that signed a certificate, or "" if the issuer has none.
func (i *Issuer) signerOf(certificate string) string {
	signed := ParseCertificates([]byte(certificate))
	for _, authority := range i.Authorities {
		if len(signed) > 0 && signed[0].CheckSignatureFrom(authority) == nil {
			return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw}))
		}
	}
	return ""
}

// Chains returns the chains that a certificate can be downloaded with (RFC 8555 section 7.4.2): the whole chain first, then
// shorter ones, each without one more cross-certificate at its end. Cross-certificates lead clients that do not trust a
// root yet to a root that they trust.
func Chains(whole []byte, roots []*x509.Certificate) [][]byte {
	found := [][]byte{whole}
	certificates := ParseCertificates(whole)
	for last := len(certificates) - 1; last > 0 && isCross(certificates[last], roots); last-- {
		var shorter bytes.Buffer
		for _, c := range certificates[:last] {
			_ = pem.Encode(&shorter, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer never fails
		}
		found = append(found, shorter.Bytes())
	}
	return found
}

// isCross reports whether a certificate has the name and key of a root, and is signed by another root.
func isCross(certificate *x509.Certificate, roots []*x509.Certificate) bool {
	return slices.ContainsFunc(roots, func(root *x509.Certificate) bool {
		return !certificate.Equal(root) && bytes.Equal(certificate.RawSubject, root.RawSubject) &&
			bytes.Equal(certificate.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo)
	})
}
