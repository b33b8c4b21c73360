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
	"slices"
	"sync/atomic"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki/keycheck"
	"github.com/acmeca/acmeca/internal/pki/validity"
)

const (
	// maxCommonName is ub-common-name of RFC 5280 appendix A.1.
	maxCommonName = 64
	// maxIdentifiers bounds the names of a certificate; the schema of an AcmeOrder says the same.
	maxIdentifiers = 100
)

// Request describes one certificate. The same request to the same authority gives the same certificate, byte by byte.
type Request struct {
	// ID of the order, unique for ever, such as the UID of the AcmeOrder.
	ID string
	// Identifiers, normalized and each one once; validated, which is not this package's business.
	Identifiers []acme.Identifier
	// CSR as policy.ParseCSR let it through. Its key is used, its common name where the profile keeps it, and nothing else.
	CSR *x509.CertificateRequest
	// OrderedAt is when the order came; zero stands for FinalizedAt. It bounds how far back an asked NotBefore may reach.
	OrderedAt time.Time
	// FinalizedAt is when the client finalized the order, from where validity is counted.
	FinalizedAt time.Time
	// NotBefore and NotAfter are what the client asked for, zero if it did not.
	NotBefore, NotAfter time.Time
	// IssuerURL is where the issuing certificate can be had (AIA, RFC 5280 section 4.2.2.1), over plain HTTP; "" leaves it out.
	IssuerURL string
	// CRLURL is the CRL shard that the certificate would be listed in (RFC 5280 section 4.2.1.13), over plain HTTP; "" leaves
	// it out.
	CRLURL string
}

// Prepared is a certificate that was linted and may be signed, once.
type Prepared struct {
	authority *Authority
	what      signed
	redeemed  atomic.Bool
}

// Prepare makes the to-be-signed bytes of a certificate and lints them, signed by a key that nobody trusts. What it gives
// can be signed once.
//
// The error is an *acme.Problem where the client asked for something that it can't have, and a *LintError where the
// certificate would break a rule; everything else is a fault of the CA or of the caller.
func (a *Authority) Prepare(p *Profile, r Request) (*Prepared, error) {
	template, err := a.template(p, r)
	if err != nil {
		return nil, err
	}
	what, err := toBeSigned(a.throwAway.key.Public(), func(key crypto.Signer) ([]byte, error) {
		return x509.CreateCertificate(nil, template, a.lintIssuer, r.CSR.PublicKey, key)
	})
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	if err := setSerial(a.serialKey, r.ID, what.tbs); err != nil {
		return nil, err
	}
	der, err := a.throwAway.sign(what)
	if err != nil {
		return nil, err
	}
	if err := lintCertificate(der); err != nil {
		return nil, err
	}
	return &Prepared{authority: a, what: what}, nil
}

// Sign signs what Prepare linted, and nothing else. It fails for what was signed before, and for what another authority
// prepared.
func (a *Authority) Sign(p *Prepared) (*x509.Certificate, error) {
	if p.authority != a {
		return nil, errors.New("the certificate was prepared by another authority")
	}
	if p.redeemed.Swap(true) {
		return nil, errors.New("the certificate was signed before")
	}
	der, err := a.signer.signChecked(p.what)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the new certificate: %w", err)
	}
	if !bytes.Equal(cert.RawTBSCertificate, p.what.tbs) {
		return nil, errors.New("the new certificate is not the one that was linted")
	}
	return cert, nil
}

// Issue is Prepare and Sign.
func (a *Authority) Issue(p *Profile, r Request) (*x509.Certificate, error) {
	prepared, err := a.Prepare(p, r)
	if err != nil {
		return nil, err
	}
	return a.Sign(prepared)
}

// template is the certificate but for its serial number.
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
		SerialNumber:          placeholderSerial(),
		Subject:               pkix.Name{CommonName: p.commonName(r)},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              keyUsage(r.CSR.PublicKey),
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
	if r.IssuerURL != "" {
		template.IssuingCertificateURL = []string{r.IssuerURL}
	}
	if r.CRLURL != "" {
		template.CRLDistributionPoints = []string{r.CRLURL}
	}
	return template, nil
}

// check is the last look at a request before it becomes a certificate, whoever checked it before.
func (a *Authority) check(p *Profile, r Request) error {
	switch {
	case r.ID == "":
		return errors.New("the request has no id")
	case r.CSR == nil || r.CSR.PublicKey == nil:
		return errors.New("the request has no CSR")
	case r.FinalizedAt.IsZero():
		return errors.New("the request was never finalized")
	case len(r.Identifiers) == 0 || len(r.Identifiers) > maxIdentifiers:
		return fmt.Errorf("the request has %d identifiers, and must have 1 to %d", len(r.Identifiers), maxIdentifiers)
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
			return fmt.Errorf("identifier %q is not normalized, or there twice", acme.Printable(id.Value, acme.MaxNameLength))
		}
		if problem := a.CheckIdentifier(id); problem != nil {
			return problem
		}
	}
	for _, cert := range a.chain {
		if keycheck.Equal(cert.PublicKey, r.CSR.PublicKey) {
			return acme.NewProblem(acme.BadCSR, "the certificate's key is that of a CA certificate; use another one")
		}
	}
	return nil
}

// validity keeps a certificate within its chain's validity. Where the client asked for times, it gets those or an error
// (RFC 8555 section 7.4).
func (a *Authority) validity(p *Profile, r Request) (from, to time.Time, err error) {
	ordered := r.OrderedAt
	if ordered.IsZero() {
		ordered = r.FinalizedAt
	}
	from, to, problem := p.config.bounds().Period(validity.Times{
		Ordered: ordered, Finalized: r.FinalizedAt, NotBefore: r.NotBefore, NotAfter: r.NotAfter,
	})
	switch {
	case problem != nil:
		return from, to, problem
	case r.FinalizedAt.After(a.notAfter):
		return from, to, fmt.Errorf("the CA certificate or one above it expired at %s", validity.Text(a.notAfter))
	case !r.NotAfter.IsZero() && to.After(a.notAfter):
		return from, to, acme.NewProblem(acme.Malformed, "notAfter %s is later than the CA's own, which is %s",
			validity.Text(to), validity.Text(a.notAfter))
	case !r.NotBefore.IsZero() && from.Before(a.notBefore):
		return from, to, acme.NewProblem(acme.Malformed, "notBefore %s is earlier than the CA's own, which is %s",
			validity.Text(from), validity.Text(a.notBefore))
	}
	return validity.Later(from, a.notBefore), validity.Earlier(to, a.notAfter), nil
}

// commonName is the CSR's, if the profile keeps it and it is one of the names; else none, and the SAN is critical (RFC 5280
// section 4.2.1.6).
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

// keyUsage follows from the kind of key: only with RSA can a TLS client encrypt to it (RFC 5246 section 7.4.7.1; RFC 8813
// section 3 forbids it for ECDSA).
func keyUsage(pub crypto.PublicKey) x509.KeyUsage {
	if _, ok := pub.(*rsa.PublicKey); ok {
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	return x509.KeyUsageDigitalSignature
}

// keyIdentifier is RFC 7093 section 2 method 1, which x509 uses for CA certificates: the first 160 bits of the SHA-256 of
// the key.
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
