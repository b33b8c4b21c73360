package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/acmeca/acmeca/internal/pki/keycheck"
	"github.com/acmeca/acmeca/internal/pki/validity"
)

// CAConfig describes a CA certificate to make.
type CAConfig struct {
	// CommonName of the subject, 1 to 64 bytes.
	CommonName string
	// Organization of the subject, up to 64 bytes; none if empty.
	Organization string
	// KeyAlgorithm of the new key.
	KeyAlgorithm KeyAlgorithm
	// Lifetime from the first second of validity to the last, both included.
	Lifetime time.Duration
	// Backdate is how long before now validity starts, for clocks that are behind.
	Backdate time.Duration
}

// KeyPair is a CA certificate and its private key.
type KeyPair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// CertificatePEM is the certificate as PEM text.
func (p *KeyPair) CertificatePEM() []byte { return EncodeCertificates(p.Certificate) }

// KeyPEM is the private key as PKCS#8 in PEM text.
func (p *KeyPair) KeyPEM() ([]byte, error) { return MarshalKeyPEM(p.Key) }

// ParseKeyPair reads back what CertificatePEM and KeyPEM wrote; of several certificates it takes the first. It checks
// only that the two belong together: LoadAuthority judges whether a CA may issue.
func ParseKeyPair(certPEM, keyPEM []byte) (*KeyPair, error) {
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := ParseKeyPEM(keyPEM)
	if err != nil {
		return nil, err
	}
	if !keycheck.Equal(key.Public(), certs[0].PublicKey) {
		return nil, errKeyMismatch
	}
	return &KeyPair{certs[0], key}, nil
}

var errKeyMismatch = errors.New("the private key does not belong to the first certificate")

// NewRoot makes a self-signed CA certificate with a new key.
func NewRoot(c CAConfig, now time.Time) (*KeyPair, error) {
	template, err := c.template(now)
	if err != nil {
		return nil, err
	}
	key, err := GenerateKey(c.KeyAlgorithm)
	if err != nil {
		return nil, err
	}
	// The root names itself as its issuer, so a throw-away key can't stand in for its own; what doesn't pass is dropped.
	return signCA(template, &KeyPair{template, key}, key)
}

// NewIntermediate makes a CA certificate with a new key, signed by root, that can issue end-entity certificates alone
// (path length 0). It never outlives root.
func NewIntermediate(c CAConfig, root *KeyPair, now time.Time) (*KeyPair, error) {
	template, err := c.template(now)
	if err != nil {
		return nil, err
	}
	template.MaxPathLenZero = true
	key, err := GenerateKey(c.KeyAlgorithm)
	if err != nil {
		return nil, err
	}
	return signUnder(template, root, key, now)
}

// CrossSign makes a certificate for newRoot's subject and key that is signed by oldRoot, so that those who trust only the
// old root accept what is issued under the new one. It outlives neither of them.
func CrossSign(newRoot *x509.Certificate, oldRoot *KeyPair, now time.Time) (*x509.Certificate, error) {
	template := caTemplate(newRoot.Subject)
	template.RawSubject = newRoot.RawSubject
	template.SubjectKeyId = newRoot.SubjectKeyId
	template.NotBefore, template.NotAfter = newRoot.NotBefore, newRoot.NotAfter
	pair, err := signUnder(template, oldRoot, publicOnly{newRoot.PublicKey}, now)
	if err != nil {
		return nil, err
	}
	return pair.Certificate, nil
}

// publicKeyer is a private key of which only the public half is used, or that half alone.
type publicKeyer interface{ Public() crypto.PublicKey }

// publicOnly is the key of a certificate whose private key isn't needed.
type publicOnly struct{ crypto.PublicKey }

func (k publicOnly) Public() crypto.PublicKey { return k.PublicKey }

func (c CAConfig) template(now time.Time) (*x509.Certificate, error) {
	switch {
	case c.CommonName == "" || len(c.CommonName) > maxCommonName:
		return nil, fmt.Errorf("the common name of a CA must have 1 to %d bytes", maxCommonName)
	case len(c.Organization) > 64:
		return nil, errors.New("the organization of a CA must have at most 64 bytes")
	case c.Backdate < 0 || c.Lifetime <= c.Backdate:
		return nil, fmt.Errorf("a CA lifetime of %v leaves nothing after backdating by %v", c.Lifetime, c.Backdate)
	}
	subject := pkix.Name{CommonName: c.CommonName}
	if c.Organization != "" {
		subject.Organization = []string{c.Organization}
	}
	template := caTemplate(subject)
	template.NotBefore = validity.WholeSecond(now.Add(-c.Backdate))
	template.NotAfter = validity.LastSecond(template.NotBefore, c.Lifetime)
	return template, nil
}

// caTemplate has what all CA certificates have (RFC 5280 sections 4.2.1.3 and 4.2.1.9; x509 makes both extensions critical).
func caTemplate(subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Subject:               subject,
		SerialNumber:          randomSerial(),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// signUnder keeps the certificate's validity within the issuer's before it is signed.
func signUnder(template *x509.Certificate, issuer *KeyPair, key publicKeyer, now time.Time) (*KeyPair, error) {
	if !keycheck.Equal(issuer.Key.Public(), issuer.Certificate.PublicKey) {
		return nil, errKeyMismatch
	}
	template.NotBefore = validity.Later(template.NotBefore, issuer.Certificate.NotBefore)
	template.NotAfter = validity.Earlier(template.NotAfter, issuer.Certificate.NotAfter)
	if now.After(template.NotAfter) {
		return nil, fmt.Errorf("a certificate signed by the CA %s would have expired at %s",
			name(issuer.Certificate), validity.Text(template.NotAfter))
	}
	// x509 takes a certificate whose issuer has its own name for a root, which a cross-certificate isn't.
	template.AuthorityKeyId = issuer.Certificate.SubjectKeyId
	return signCA(template, issuer, key)
}

// signCA signs a CA certificate, checks it, and lets it out only when it passes the lints.
func signCA(template *x509.Certificate, issuer *KeyPair, key publicKeyer) (*KeyPair, error) {
	s, err := newSigner(issuer.Key)
	if err != nil {
		return nil, err
	}
	template.SignatureAlgorithm = s.algorithm
	der, err := x509.CreateCertificate(nil, template, issuer.Certificate, key.Public(), issuer.Key)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the new CA certificate: %w", err)
	}
	if err := lintCertificate(der); err != nil {
		return nil, err
	}
	pair := &KeyPair{Certificate: cert}
	pair.Key, _ = key.(crypto.Signer)
	return pair, nil
}

// selfIssued reports whether a certificate's issuer has its own name (RFC 5280 section 6.1).
func selfIssued(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }
