package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	// maxChain bounds the certificates in one PEM text. Chains usually have two or three.
	maxChain = 10
	// maxChainPEM bounds the PEM text in bytes, as the schema of status.issuingCertificate.chain does.
	maxChainPEM = 64 << 10

	certificateBlock = "CERTIFICATE"
)

// EncodeCertificates returns certificates as PEM text, one after the other (RFC 8555 section 9.1).
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs {
		// Neither a write to a buffer nor a block without headers can fail.
		_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: cert.Raw})
	}
	return out.Bytes()
}

// ParseCertificates returns the one to ten certificates in PEM text. It rejects other PEM blocks, and ignores text around the
// blocks. The error is a sentence for the author of the text.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxChainPEM {
		return nil, fmt.Errorf("the certificate text is larger than %d bytes", maxChainPEM)
	}
	var certs []*x509.Certificate
	rest := text
	for {
		block, next := pem.Decode(rest)
		if block == nil {
			break
		}
		rest = next
		if block.Type != certificateBlock {
			return nil, fmt.Errorf("block %d of the certificate text is of type %q instead of CERTIFICATE", len(certs)+1, block.Type)
		}
		if len(certs) == maxChain {
			return nil, fmt.Errorf("the certificate text has more than %d certificates", maxChain)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(certs)+1, err)
		}
		// The parser accepts it in a program with x509negativeserial=1, which acmeca needs for validation.
		if cert.SerialNumber.Sign() < 0 {
			return nil, fmt.Errorf("certificate %d has a negative serial number (RFC 5280 section 4.1.2.2)", len(certs)+1)
		}
		certs = append(certs, cert)
	}
	// pem.Decode silently skips a damaged block, which would lose a certificate of the chain.
	if bytes.Count(text, []byte("-----BEGIN ")) != len(certs) {
		return nil, errors.New("the certificate text has a damaged PEM block")
	}
	if len(certs) == 0 {
		return nil, errors.New("the certificate text has no PEM block of type CERTIFICATE")
	}
	return certs, nil
}
