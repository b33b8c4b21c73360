package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/internal/pki"
)

// name returns the quoted subject of a certificate, for messages.
func name(cert *x509.Certificate) string { return fmt.Sprintf("%q", cert.Subject.String()) }

// checkChain returns an error if a chain, issuing certificate first, cannot issue end-entity certificates now.
func checkChain(chain []*x509.Certificate, now time.Time) error {
	for i, cert := range chain {
		if err := checkCA(cert, now); err != nil {
			return fmt.Errorf("certificate %d, %s, %w", i+1, name(cert), err)
		}
	}
	if err := checkIssuing(chain[0]); err != nil {
		return fmt.Errorf("certificate 1, %s, %w", name(chain[0]), err)
	}
	below := 0 // CA certificates below this one that count for path lengths: all that are not self-issued
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

// checkCA checks one certificate of a chain, without the others (RFC 5280 sections 4.2.1 and 6.1.4). Its errors are predicates.
func checkCA(cert *x509.Certificate, now time.Time) error {
	switch {
	case cert.Version != 3:
		return fmt.Errorf("has X.509 version %d; a CA certificate must have version 3", cert.Version)
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("is not a CA certificate: its basic constraints do not say CA:TRUE")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("may not sign certificates: its key usage lacks keyCertSign")
	case len(cert.Subject.Names) == 0:
		return errors.New("has an empty subject; a CA certificate must have one")
	case slices.ContainsFunc(cert.UnhandledCriticalExtensions, oidNameConstraints.Equal):
		return errors.New("has name constraints of an unsupported type, such as directory names")
	case len(cert.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("has the unsupported critical extension %s", cert.UnhandledCriticalExtensions[0])
	case cert.RequireExplicitPolicy > 0 || cert.RequireExplicitPolicyZero:
		return errors.New("requires certificate policies (policy constraints); this CA issues certificates without policies")
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is not valid before %s", pki.TimeText(cert.NotBefore))
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired at %s", pki.TimeText(cert.NotAfter))
	}
	return nil
}

// checkIssuing checks the further requirements on the issuing certificate. The certificates above it may lack a key usage and a
// key identifier, as roots made with openssl's defaults do: they sign nothing more here.
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

// checkLink returns an error if issuer did not sign cert.
func checkLink(cert, issuer *x509.Certificate) error {
	switch {
	case !bytes.Equal(cert.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("it names %q as its issuer", cert.Issuer.String())
	case len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, issuer.SubjectKeyId):
		return errors.New("the key identifiers differ")
	}
	return cert.CheckSignatureFrom(issuer)
}

// isRoot reports whether a certificate is self-signed. An outdated algorithm (SHA-1) in a root's own signature is harmless:
// nobody trusts the root because of that signature.
func isRoot(cert *x509.Certificate) bool {
	if !selfIssued(cert) || len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, cert.SubjectKeyId) {
		return false
	}
	err := cert.CheckSignatureFrom(cert)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure)
}
