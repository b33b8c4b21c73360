package ca

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki"
)

const (
	// maxCommonName is ub-common-name of RFC 5280 appendix A.1.
	maxCommonName = 64
	// maxIdentifiers bounds the names of a certificate, as the schema of an AcmeOrder does.
	maxIdentifiers = 100
)

// Request describes one certificate. The same request to the same authority yields the same certificate, byte by byte.
type Request struct {
	// ID of the order, never reused, such as the UID of the AcmeOrder.
	ID string
	// Order is the name of the order, to which the serial number leads; "" if there is none.
	Order string
	// Identifiers, normalized and without duplicates. The caller has validated them.
	Identifiers []acme.Identifier
	// URI is the SPIFFE ID of the certificate; nil for none.
	URI *url.URL
	// CSR, accepted by policy.ParseCSR. The certificate takes its key, and its common name if the profile keeps it.
	CSR *x509.CertificateRequest
	// OrderedAt is the time of the order; zero means FinalizedAt. A requested NotBefore is bounded by it.
	OrderedAt time.Time
	// FinalizedAt is the time at which the client finalized the order. Validity starts from it.
	FinalizedAt time.Time
	// NotBefore and NotAfter are the times that the client requested; zero if it requested none.
	NotBefore, NotAfter time.Time
	// IssuerURL is the plain HTTP URL of the issuing certificate (AIA, RFC 5280 section 4.2.2.1); "" omits it.
	IssuerURL string
	// CRLURL is the plain HTTP URL of the certificate's CRL shard (RFC 5280 section 4.2.1.13); "" omits it.
	CRLURL string
}

// Prepared is a linted certificate that may be signed once.
type Prepared struct {
	authority *Authority
	body      unsigned
	redeemed  atomic.Bool
}

// Prepare encodes the to-be-signed bytes of a certificate and lints them under a signature by a key that nobody trusts. The
// result can be signed once.
//
// The error is an *acme.Problem if the client requested something that it can't have, and a *LintError if the certificate
// would break a rule. Every other error is a fault of the CA or of the caller.
func (a *Authority) Prepare(p *Profile, r Request) (*Prepared, error) {
	template, err := a.template(p, r)
	if err != nil {
		return nil, err
	}
	body, err := captureTBS(a.throwAway.key.Public(), func(key crypto.Signer) ([]byte, error) {
		return x509.CreateCertificate(nil, template, a.lintIssuer, r.CSR.PublicKey, key)
	})
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	if err := setSerial(a.serialKey, &r, body.tbs); err != nil {
		return nil, err
	}
	der, err := a.throwAway.sign(body)
	if err != nil {
		return nil, err
	}
	if err := lintCertificate(der); err != nil {
		return nil, err
	}
	return &Prepared{authority: a, body: body}, nil
}

// Sign signs a prepared certificate. It fails if the certificate was signed before, or prepared by another authority.
func (a *Authority) Sign(p *Prepared) (*x509.Certificate, error) {
	if p.authority != a {
		return nil, errors.New("the certificate was prepared by another authority")
	}
	if p.redeemed.Swap(true) {
		return nil, errors.New("the certificate was signed before")
	}
	der, err := a.signer.signChecked(p.body)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the new certificate: %w", err)
	}
	if !bytes.Equal(cert.RawTBSCertificate, p.body.tbs) {
		return nil, errors.New("the new certificate is not the one that was linted")
	}
	return cert, nil
}

// Issue calls Prepare and Sign.
func (a *Authority) Issue(p *Profile, r Request) (*x509.Certificate, error) {
	prepared, err := a.Prepare(p, r)
	if err != nil {
		return nil, err
	}
	return a.Sign(prepared)
}

// template returns the certificate with a placeholder as its serial number.
func (a *Authority) template(p *Profile, r Request) (*x509.Certificate, error) {
	if err := a.check(p, r); err != nil {
		return nil, err
	}
	from, to, err := a.validity(p, r)
	if err != nil {
		return nil, err
	}
	keyID, err := keyIdentifier(r.CSR.PublicKey)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SignatureAlgorithm:    a.signer.algorithm,
		SerialNumber:          placeholderSerial(r.Order),
		Subject:               pkix.Name{CommonName: p.commonName(r)},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              keyUsage(r.CSR.PublicKey, p.config.ExtKeyUsages),
		ExtKeyUsage:           p.config.ExtKeyUsages,
		BasicConstraintsValid: true, // CA:FALSE, critical
		SubjectKeyId:          keyID,
	}
	for _, id := range r.Identifiers {
		if id.Type == acme.IP {
			template.IPAddresses = append(template.IPAddresses, netip.MustParseAddr(id.Value).AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	if r.URI != nil {
		template.URIs = []*url.URL{r.URI}
	}
	if r.IssuerURL != "" {
		template.IssuingCertificateURL = []string{r.IssuerURL}
	}
	if r.CRLURL != "" {
		template.CRLDistributionPoints = []string{r.CRLURL}
	}
	return template, nil
}

// check verifies a request for the last time before issuance, regardless of earlier checks.
func (a *Authority) check(p *Profile, r Request) error {
	switch {
	case r.ID == "":
		return errors.New("the request has no id")
	case r.CSR == nil || r.CSR.PublicKey == nil:
		return errors.New("the request has no CSR")
	case r.FinalizedAt.IsZero():
		return errors.New("the request has no time of finalization")
	case len(r.Identifiers) == 0 && r.URI == nil || len(r.Identifiers) > maxIdentifiers:
		return fmt.Errorf("the request has %d identifiers; it must have 1 to %d", len(r.Identifiers), maxIdentifiers)
	}
	if err := a.CheckProfile(p); err != nil {
		return err
	}
	for i, id := range r.Identifiers {
		normal, problem := id.Normalize()
		if problem != nil {
			return problem
		}
		if normal != id || slices.Contains(r.Identifiers[:i], id) {
			return fmt.Errorf("identifier %q is not normalized, or a duplicate", acme.Printable(id.Value, acme.MaxNameLength))
		}
		if problem := a.CheckIdentifier(id); problem != nil {
			return problem
		}
	}
	if r.URI != nil {
		if problem := a.CheckURI(r.URI); problem != nil {
			return problem
		}
	}
	for _, cert := range a.chain {
		if pki.EqualKeys(cert.PublicKey, r.CSR.PublicKey) {
			return acme.NewProblem(acme.BadCSR, "the CSR's key is the key of a CA certificate; use another key")
		}
	}
	return nil
}

// validity returns the certificate's validity, within that of the chain. If the client requested times, validity returns
// those or an error (RFC 8555 section 7.4).
func (a *Authority) validity(p *Profile, r Request) (from, to time.Time, err error) {
	ordered := r.OrderedAt
	if ordered.IsZero() {
		ordered = r.FinalizedAt
	}
	from, to, problem := p.config.bounds().Period(pki.OrderTimes{
		Ordered: ordered, Finalized: r.FinalizedAt, NotBefore: r.NotBefore, NotAfter: r.NotAfter,
	})
	switch {
	case problem != nil:
		return from, to, problem
	case r.FinalizedAt.After(a.notAfter):
		return from, to, fmt.Errorf("the CA certificate or one above it expired at %s", pki.TimeText(a.notAfter))
	case !r.NotAfter.IsZero() && to.After(a.notAfter):
		return from, to, acme.NewProblem(acme.Malformed, "notAfter %s is later than the CA's own notAfter, %s",
			pki.TimeText(to), pki.TimeText(a.notAfter))
	case !r.NotBefore.IsZero() && from.Before(a.notBefore):
		return from, to, acme.NewProblem(acme.Malformed, "notBefore %s is earlier than the CA's own notBefore, %s",
			pki.TimeText(from), pki.TimeText(a.notBefore))
	}
	return pki.Later(from, a.notBefore), pki.Earlier(to, a.notAfter), nil
}

// commonName returns the CSR's common name if the profile keeps it and it is one of the identifiers. Otherwise the subject is
// empty, and the SAN is critical (RFC 5280 section 4.2.1.6).
func (p *Profile) commonName(r Request) string {
	if !p.config.KeepCommonName {
		return ""
	}
	text := r.CSR.Subject.CommonName
	for _, kind := range []acme.IdentifierType{acme.DNS, acme.IP} {
		id, problem := acme.Identifier{Type: kind, Value: text}.Normalize()
		if problem == nil && slices.Contains(r.Identifiers, id) && len(id.Value) <= maxCommonName {
			return id.Value
		}
	}
	return ""
}

// keyUsage returns the key usage for a key. Only RSA keys of servers are used for encryption in TLS (RFC 5246 section
// 7.4.7.1). RFC 8813 section 3 forbids keyEncipherment for ECDSA, and RFC 5280 section 4.2.1.12 for clients.
func keyUsage(pub crypto.PublicKey, extended []x509.ExtKeyUsage) x509.KeyUsage {
	if _, ok := pub.(*rsa.PublicKey); ok && slices.Contains(extended, x509.ExtKeyUsageServerAuth) {
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	return x509.KeyUsageDigitalSignature
}

// keyIdentifier returns the first 160 bits of the SHA-256 of a key (RFC 7093 section 2 method 1), as crypto/x509 does for CA
// certificates.
func keyIdentifier(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode the certificate's key: %w", err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("read the certificate's key: %w", err)
	}
	sum := sha256.Sum256(spki.Key.Bytes)
	return sum[:20], nil
}
