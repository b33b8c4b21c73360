package v1alpha1

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"slices"
)

// CRLsField is the key of the CRLs (PEM) in a trust ConfigMap: the complete CRLs of all CAs of the issuer. If they do not fit, the text
// says where they are.
const CRLsField = "crls.pem"

// EncodeCRL returns a CRL in PEM.
func EncodeCRL(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: crlBlock, Bytes: der})
}

const crlBlock = "X509 CRL"

// WriteCRL writes a CRL in PEM.
func WriteCRL(w io.Writer, der []byte) error {
	return pem.Encode(w, &pem.Block{Type: crlBlock, Bytes: der})
}

// CRLSize returns the size of a CRL in PEM whose DER has n bytes.
func CRLSize(n int) int {
	const line = 64
	text := base64.StdEncoding.EncodedLen(n)
	return len("-----BEGIN -----\n-----END -----\n") + 2*len(crlBlock) + text + (text+line-1)/line
}

// DistinctCAs returns the first CA certificate of each name. CA certificates with the same key have one name, and one complete CRL.
func DistinctCAs(certificates []*x509.Certificate) []*x509.Certificate {
	var names []string
	return slices.DeleteFunc(slices.Clone(certificates), func(certificate *x509.Certificate) bool {
		name := CAName(certificate)
		known := slices.Contains(names, name)
		names = append(names, name)
		return known
	})
}
