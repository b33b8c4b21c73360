package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/acmeca/acmeca/internal/pki"
)

// CAConfig describes a new CA certificate.
type CAConfig struct {
	// CommonName of the subject, 1 to 64 bytes.
	CommonName string
	// Organization of the subject, up to 64 bytes; none if empty.
	Organization string
	// KeyAlgorithm of the new key.
	KeyAlgorithm KeyAlgorithm
	// Key is the new key; nil to generate one.
	Key crypto.Signer
	// Lifetime from the first to the last second of validity, both included.
	Lifetime time.Duration
	// Backdate is the time between the start of validity and now, for clients whose clocks are behind.
	Backdate time.Duration
	// CRLURL is the plain HTTP URL of the root's CRL in an intermediate (RFC 5280 section 4.2.1.13); "" omits it.
	CRLURL string
}

// KeyPair is a CA certificate and its private key.
type KeyPair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// CertificatePEM returns the certificate as PEM text.
func (p *KeyPair) CertificatePEM() []byte { return EncodeCertificates(p.Certificate) }

// KeyPEM returns the private key as PKCS#8 in PEM text.
func (p *KeyPair) KeyPEM() ([]byte, error) { return MarshalKeyPEM(p.Key) }

// ParseKeyPair returns the first certificate of certPEM with its key. It only checks that the two belong together.
// LoadAuthority checks whether a CA may issue.
func ParseKeyPair(certPEM, keyPEM []byte) (*KeyPair, error) {
	key, err := ParseKeyPEM(keyPEM)
	if err != nil {
		return nil, err
	}
	return NewKeyPair(certPEM, key)
}

// NewKeyPair returns the first certificate of certPEM with its key. It only checks that the two belong together.
func NewKeyPair(certPEM []byte, key crypto.Signer) (*KeyPair, error) {
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	if !pki.EqualKeys(key.Public(), certs[0].PublicKey) {
		return nil, errKeyMismatch
	}
	return &KeyPair{certs[0], key}, nil
}

var errKeyMismatch = errors.New("the private key does not belong to the first certificate")

// NewRoot returns a new self-signed CA certificate with a new key.
func NewRoot(c CAConfig, now time.Time) (*KeyPair, error) {
	template, err := c.template(now)
	if err != nil {
		return nil, err
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	// A root names itself as its issuer, so a throw-away key can't replace its own key. A root that fails the lints is dropped.
	return signCA(template, &KeyPair{template, key}, key)
}

// NewIntermediate returns a new CA certificate with a new key, signed by root. It can only issue end-entity certificates (path
// length 0), and expires no later than root.
func NewIntermediate(c CAConfig, root *KeyPair, now time.Time) (*KeyPair, error) {
	template, err := c.template(now)
	if err != nil {
		return nil, err
	}
	template.MaxPathLenZero = true
	template.CRLDistributionPoints = distributionPoints(c.CRLURL)
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	return signUnder(template, root, key, now)
}

func distributionPoints(url string) []string {
	if url == "" {
		return nil
	}
	return []string{url}
}

// CrossSign returns a certificate for newRoot's subject and key, signed by oldRoot. Clients that only trust oldRoot then accept
// certificates under newRoot. It expires no later than either root. crlURL is the URL of oldRoot's CRL; "" omits it.
func CrossSign(newRoot *x509.Certificate, oldRoot *KeyPair, crlURL string, now time.Time) (*x509.Certificate, error) {
	template := caTemplate(newRoot.Subject)
	template.RawSubject = newRoot.RawSubject
	template.SubjectKeyId = newRoot.SubjectKeyId
	template.NotBefore, template.NotAfter = newRoot.NotBefore, newRoot.NotAfter
	template.CRLDistributionPoints = distributionPoints(crlURL)
	pair, err := signUnder(template, oldRoot, publicOnly{newRoot.PublicKey}, now)
	if err != nil {
		return nil, err
	}
	return pair.Certificate, nil
}

// publicKeyer is a private or a public key.
type publicKeyer interface{ Public() crypto.PublicKey }

// publicOnly is a public key without its private key.
type publicOnly struct{ crypto.PublicKey }

func (k publicOnly) Public() crypto.PublicKey { return k.PublicKey }

func (c CAConfig) key() (crypto.Signer, error) {
	if c.Key != nil {
		return c.Key, nil
	}
	return GenerateKey(c.KeyAlgorithm)
}

func (c CAConfig) template(now time.Time) (*x509.Certificate, error) {
	switch {
	case c.CommonName == "" || len(c.CommonName) > maxCommonName:
		return nil, fmt.Errorf("the common name of a CA must have 1 to %d bytes", maxCommonName)
	case len(c.Organization) > 64:
		return nil, errors.New("the organization of a CA must have at most 64 bytes")
	case c.Backdate < 0 || c.Lifetime <= c.Backdate:
		return nil, fmt.Errorf("a CA lifetime of %v must be longer than its backdating of %v", c.Lifetime, c.Backdate)
	}
	template := caTemplate(CASubject(c.CommonName, c.Organization))
	template.NotBefore = pki.WholeSecond(now.Add(-c.Backdate))
	template.NotAfter = pki.LastSecond(template.NotBefore, c.Lifetime)
	return template, nil
}

// CASubject returns the subject of a CA certificate, without an organization if it is empty.
func CASubject(commonName, organization string) pkix.Name {
	subject := pkix.Name{CommonName: commonName}
	if organization != "" {
		subject.Organization = []string{organization}
	}
	return subject
}

// NewCARequest returns the PEM of a request (RFC 2986) for the certificate of a CA that issues end-entity certificates only.
func NewCARequest(subject pkix.Name, key crypto.Signer) ([]byte, error) {
	s, err := newSigner(key)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{
		Subject: subject, SignatureAlgorithm: s.algorithm,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 6, 1, 1, 0xff, 2, 1, 0}}, // CA:TRUE, pathlen:0
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 1, 6}},                   // keyCertSign, cRLSign
		},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("make a request for the CA certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// caTemplate returns the common fields of all CA certificates (RFC 5280 sections 4.2.1.3 and 4.2.1.9). crypto/x509 marks both
// extensions critical.
func caTemplate(subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Subject:               subject,
		SerialNumber:          randomSerial(),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// signUnder limits the certificate's validity to the issuer's, and signs the certificate.
func signUnder(template *x509.Certificate, issuer *KeyPair, key publicKeyer, now time.Time) (*KeyPair, error) {
	if !pki.EqualKeys(issuer.Key.Public(), issuer.Certificate.PublicKey) {
		return nil, errKeyMismatch
	}
	template.NotBefore = pki.Later(template.NotBefore, issuer.Certificate.NotBefore)
	template.NotAfter = pki.Earlier(template.NotAfter, issuer.Certificate.NotAfter)
	if now.After(template.NotAfter) {
		return nil, fmt.Errorf("a certificate signed by the CA %s would have expired at %s",
			name(issuer.Certificate), pki.TimeText(template.NotAfter))
	}
	// crypto/x509 would treat a cross-certificate as a root, since its issuer may have the same name.
	template.AuthorityKeyId = issuer.Certificate.SubjectKeyId
	return signCA(template, issuer, key)
}

// signCA signs a CA certificate, and returns it if it passes the lints.
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

// selfIssued reports whether subject and issuer of a certificate have the same name (RFC 5280 section 6.1).
func selfIssued(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }
