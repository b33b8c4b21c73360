package acmeserver

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
)

// parseCertificates reads the certificates in PEM text that the controllers wrote, and skips what is none.
func parseCertificates(text []byte) []*x509.Certificate {
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

// chains gives the chains to choose from for a certificate (RFC 8555 section 7.4.2): first the whole one, and then those
// without the cross-certificates at its end, one less each time. A cross-certificate leads those who don't know a root yet
// to one that they know; who trusts the root needs none.
func chains(whole []byte, roots []*x509.Certificate) [][]byte {
	found := [][]byte{whole}
	certificates := parseCertificates(whole)
	for last := len(certificates) - 1; last > 0 && isCross(certificates[last], roots); last-- {
		var shorter bytes.Buffer
		for _, c := range certificates[:last] {
			_ = pem.Encode(&shorter, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes everything
		}
		found = append(found, shorter.Bytes())
	}
	return found
}

// isCross reports whether a certificate is one for a root's name and key, by another root.
func isCross(certificate *x509.Certificate, roots []*x509.Certificate) bool {
	return slices.ContainsFunc(roots, func(root *x509.Certificate) bool {
		return !certificate.Equal(root) && bytes.Equal(certificate.RawSubject, root.RawSubject) &&
			bytes.Equal(certificate.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo)
	})
}
