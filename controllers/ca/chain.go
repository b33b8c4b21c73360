package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/internal/pki/validity"
)

// name is how messages call a certificate.
func name(cert *x509.Certificate) string { return fmt.Sprintf("%q", cert.Subject.String()) }

// checkChain says what keeps a chain, issuing certificate first, from issuing end-entity certificates now.
func checkChain(chain []*x509.Certificate, now time.Time) error {
	for i, cert := range chain {
		if err := checkCA(cert, now); err != nil {
			return fmt.Errorf("certificate %d, %s, %w", i+1, name(cert), err)
		}
	}
	if err := checkIssuing(chain[0]); err != nil {
		return fmt.Errorf("certificate 1, %s, %w", name(chain[0]), err)
	}
	below := 0 // certificates between this one and the end-entity certificate that count for path lengths
	for i, cert := range chain {
		if i > 0 {
			if err := checkLink(chain[i-1], cert); err != nil {
				return fmt.Errorf("certificate %d, %s, is not signed by the next one, %s: %w", i, name(chain[i-1]), name(cert), err)
			}
		}
		if (cert.MaxPathLen > 0 || cert.MaxPathLenZero) && cert.MaxPathLen < below {
			return fmt.Errorf("certificate %d, %s, allows %d CA certificates below it (its path length), and there are %d",
				i+1, name(cert), cert.MaxPathLen, below)
		}
		if !selfIssued(cert) {
			below++
		}
	}
	return nil
}

// checkCA judges any certificate of a chain by itself (RFC 5280 sections 4.2.1 and 6.1.4).
func checkCA(cert *x509.Certificate, now time.Time) error {
	switch {
	case cert.Version != 3:
		return fmt.Errorf("is of X.509 version %d, and a CA certificate is of version 3", cert.Version)
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("is not a CA certificate: its basic constraints do not say CA:TRUE")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("may not sign certificates: its key usage lacks keyCertSign")
	case len(cert.Subject.Names) == 0:
		return errors.New("has an empty subject, which no CA certificate may have")
	case slices.ContainsFunc(cert.UnhandledCriticalExtensions, oidNameConstraints.Equal):
		return errors.New("has name constraints of a kind that is not understood here, such as on directory names")
	case len(cert.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("has the critical extension %s, which is not understood here", cert.UnhandledCriticalExtensions[0])
	case cert.RequireExplicitPolicy > 0 || cert.RequireExplicitPolicyZero:
		return errors.New("requires certificate policies (policy constraints), and certificates are issued without any here")
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is not valid before %s", validity.Text(cert.NotBefore))
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired at %s", validity.Text(cert.NotAfter))
	}
	return nil
}

// checkIssuing is what the issuing certificate needs besides. Those above it may lack a key usage and a key identifier, as
// roots do that openssl made without being told; they have signed all that they will here.
func checkIssuing(cert *x509.Certificate) error {
	switch {
	case cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("may not sign certificates: its key usage lacks keyCertSign")
	case cert.KeyUsage&x509.KeyUsageCRLSign == 0:
		return errors.New("may not sign CRLs: its key usage lacks cRLSign")
	case len(cert.SubjectKeyId) == 0:
		return errors.New("has no subject key identifier, which every CA certificate must have")
	}
	return nil
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// checkLink says why one certificate isn't signed by another.
func checkLink(cert, issuer *x509.Certificate) error {
	switch {
	case !bytes.Equal(cert.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("it names %q as its issuer", cert.Issuer.String())
	case len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, issuer.SubjectKeyId):
		return errors.New("the key identifiers differ")
	}
	return cert.CheckSignatureFrom(issuer)
}

// isRoot reports whether a certificate is self-signed. An outdated algorithm (SHA-1) in the signature of a root by itself
// does no harm: nobody trusts the root for that signature.
func isRoot(cert *x509.Certificate) bool {
	if !selfIssued(cert) || len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, cert.SubjectKeyId) {
		return false
	}
	err := cert.CheckSignatureFrom(cert)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure)
}
