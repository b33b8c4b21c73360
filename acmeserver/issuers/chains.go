package issuers

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
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
