package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki"
)

// Material is the input of LoadAuthority.
type Material struct {
	// Chain is the PEM of the issuing certificate and those above it, each signed by the next. The root may be left out.
	Chain []byte
	// Key is the PEM of the issuing certificate's private key. It is not read if Signer is set.
	Key []byte
	// Signer is the private key if it is not in memory.
	Signer crypto.Signer
	// Roots is the PEM of further roots for the trust bundle, such as a root that Chain leaves out. It may be empty. Each root
	// must have signed the last certificate of Chain.
	Roots []byte
	// SerialKey is the secret from which serial numbers are derived, at least MinSerialKey bytes. It must never change while the
	// CA is in use.
	SerialKey []byte
}

// Authority issues certificates and CRLs with one CA certificate and its key. LoadAuthority returns valid ones alone. An
// Authority is immutable and safe for concurrent use.
type Authority struct {
	chain     []*x509.Certificate
	anchors   []*x509.Certificate
	signer    signer
	throwAway signer
	// lintIssuer is the issuing certificate with the public key of throwAway.
	lintIssuer  *x509.Certificate
	serialKey   []byte
	constraints pki.NameConstraints
	notBefore   time.Time
	notAfter    time.Time
}

// LoadAuthority verifies a CA certificate, the certificates above it and its key, and returns their Authority. The error is a
// sentence for the CA's owner. It names the certificate or the key at fault.
func LoadAuthority(m Material, now time.Time) (*Authority, error) {
	chain, err := ParseCertificates(m.Chain)
	if err != nil {
		return nil, err
	}
	key := m.Signer
	if key == nil {
		if key, err = ParseKeyPEM(m.Key); err != nil {
			return nil, err
		}
	}
	if !pki.EqualKeys(key.Public(), chain[0].PublicKey) {
		return nil, errKeyMismatch
	}
	if err := pki.CheckKey(key.Public(), pki.KeyOptions{AllowP521: true}); err != nil {
		return nil, fmt.Errorf("the private key is not fit for a CA: %w", err)
	}
	if err := checkChain(chain, now); err != nil {
		return nil, err
	}
	anchors, err := trustAnchors(chain, m.Roots, now)
	if err != nil {
		return nil, err
	}
	if len(m.SerialKey) < MinSerialKey {
		return nil, fmt.Errorf("the key for serial numbers has %d bytes, and needs at least %d", len(m.SerialKey), MinSerialKey)
	}
	return newAuthority(chain, anchors, key, m.SerialKey)
}

// Certificate returns the issuing certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.chain[0] }

// IsRemote reports whether the private key is not in memory.
func (a *Authority) IsRemote() bool {
	_, ok := a.signer.key.(interface{ Usable() error })
	return ok
}

// Usable returns the fault of a key that is not in memory and is known not to sign now; nil otherwise.
func (a *Authority) Usable() error {
	if remote, ok := a.signer.key.(interface{ Usable() error }); ok {
		return remote.Usable()
	}
	return nil
}

// Key returns the private key that signs.
func (a *Authority) Key() crypto.Signer { return a.signer.key }

// Chain returns the issuing certificate and those above it, without the root. Clients receive them after their certificate
// (RFC 8555 section 9.1). If the issuing certificate is the root, Chain returns the root: some clients (certbot) reject a
// response with a single certificate.
func (a *Authority) Chain() []*x509.Certificate {
	last := len(a.chain) - 1
	if last > 0 && isRoot(a.chain[last]) {
		return slices.Clone(a.chain[:last])
	}
	return slices.Clone(a.chain)
}

// ChainPEM returns Chain as PEM text.
func (a *Authority) ChainPEM() []byte { return EncodeCertificates(a.Chain()...) }

// TrustAnchors returns the certificates to trust: the roots if any is known, otherwise the topmost certificate of the chain.
func (a *Authority) TrustAnchors() []*x509.Certificate { return slices.Clone(a.anchors) }

// TrustAnchorsPEM returns TrustAnchors as PEM text, for a trust bundle.
func (a *Authority) TrustAnchorsPEM() []byte { return EncodeCertificates(a.anchors...) }

// NotAfter returns the last second at which the whole chain is valid. No certificate is valid for longer.
func (a *Authority) NotAfter() time.Time { return a.notAfter }

// CheckIdentifier returns a rejectedIdentifier problem if a normalized identifier is outside the CA's name constraints.
func (a *Authority) CheckIdentifier(id acme.Identifier) *acme.Problem {
	if cert := a.constraints.Check(id); cert != nil {
		return acme.NewProblem(acme.RejectedIdentifier, "%q is outside the name constraints of the CA certificate %s",
			id.Value, name(cert)).About(id)
	}
	return nil
}

// CheckURI returns a rejectedIdentifier problem if a URI is outside the CA's name constraints.
func (a *Authority) CheckURI(uri *url.URL) *acme.Problem {
	if cert := a.constraints.CheckURI(uri.Hostname()); cert != nil {
		return acme.NewProblem(acme.RejectedIdentifier, "%q is outside the name constraints of the CA certificate %s", uri, name(cert))
	}
	return nil
}

// NotBefore returns the time from which the whole chain is valid.
func (a *Authority) NotBefore() time.Time { return a.notBefore }

// FullChain returns the issuing certificate and those above it, with the root if it is known.
func (a *Authority) FullChain() []*x509.Certificate { return slices.Clone(a.chain) }

// CheckProfile returns an error if verifiers would reject certificates of a profile under this CA. RFC 5280 does not define
// extended key usages in CA certificates. Verifiers treat them as a limit on the certificates below.
func (a *Authority) CheckProfile(p *Profile) error {
	for _, cert := range a.chain {
		if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
			continue
		}
		for _, usage := range p.config.ExtKeyUsages {
			if !slices.Contains(cert.ExtKeyUsage, usage) {
				return fmt.Errorf("usages: the CA certificate %s does not allow %s below it", name(cert), usageName(usage))
			}
		}
	}
	return nil
}

func usageName(usage x509.ExtKeyUsage) string {
	if usage == x509.ExtKeyUsageClientAuth {
		return "clientAuth"
	}
	return "serverAuth"
}

// trustAnchors returns the root of a chain and the given roots, or the topmost certificate if no root is known.
func trustAnchors(chain []*x509.Certificate, roots []byte, now time.Time) ([]*x509.Certificate, error) {
	var anchors []*x509.Certificate
	top := chain[len(chain)-1]
	if isRoot(top) {
		anchors = append(anchors, top)
	}
	if len(bytes.TrimSpace(roots)) > 0 {
		certs, err := ParseCertificates(roots)
		if err != nil {
			return nil, fmt.Errorf("the roots: %w", err)
		}
		for i, cert := range certs {
			if cert.Equal(top) {
				continue
			}
			if err := checkCA(cert, now); err != nil {
				return nil, fmt.Errorf("root %d, %s, %w", i+1, name(cert), err)
			}
			if err := checkLink(top, cert); err != nil {
				return nil, fmt.Errorf("root %d, %s, did not sign the last certificate of the chain, %s: %w",
					i+1, name(cert), name(top), err)
			}
			anchors = append(anchors, cert)
		}
	}
	if len(anchors) == 0 {
		anchors = append(anchors, top)
	}
	return anchors, nil
}

func newAuthority(chain, anchors []*x509.Certificate, key crypto.Signer, serialKey []byte) (*Authority, error) {
	real, err := newSigner(key)
	if err != nil {
		return nil, err
	}
	throwAway, err := throwAways[real.algorithm]()
	if err != nil {
		return nil, err
	}
	lintIssuer := *chain[0]
	lintIssuer.PublicKey = throwAway.key.Public()
	a := &Authority{
		chain:       chain,
		anchors:     anchors,
		signer:      real,
		throwAway:   throwAway,
		lintIssuer:  &lintIssuer,
		serialKey:   bytes.Clone(serialKey),
		constraints: pki.NewNameConstraints(chain),
		notBefore:   chain[0].NotBefore,
		notAfter:    chain[0].NotAfter,
	}
	for _, cert := range chain[1:] {
		a.notBefore = pki.Later(a.notBefore, cert.NotBefore)
		a.notAfter = pki.Earlier(a.notAfter, cert.NotAfter)
	}
	return a, nil
}
