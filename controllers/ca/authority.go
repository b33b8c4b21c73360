package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki/constraints"
	"github.com/acmeca/acmeca/internal/pki/keycheck"
	"github.com/acmeca/acmeca/internal/pki/validity"
)

// Material is what an Authority is made of.
type Material struct {
	// Chain is the PEM of the issuing certificate and those above it, each signed by the next. The root may be left out.
	Chain []byte
	// Key is the PEM of the issuing certificate's private key.
	Key []byte
	// Roots is the PEM of further roots for the trust bundle, such as the one that Chain leaves out; it may be empty. Each
	// must have signed the last certificate of Chain.
	Roots []byte
	// SerialKey is the secret that serial numbers are derived with, at least MinSerialKey bytes. It must be the same for as
	// long as the CA is used.
	SerialKey []byte
}

// Authority issues certificates and CRLs with one CA certificate and its key. One that exists was valid when it was loaded.
// It never changes, and can be used from several goroutines.
type Authority struct {
	chain     []*x509.Certificate
	anchors   []*x509.Certificate
	signer    signer
	throwAway signer
	// lintIssuer is the issuing certificate with the throw-away key in it.
	lintIssuer  *x509.Certificate
	serialKey   []byte
	constraints constraints.Constraints
	notBefore   time.Time
	notAfter    time.Time
}

// LoadAuthority checks a CA certificate, those above it and its key. The error is a sentence that names what is wrong, the
// key or which of the certificates.
func LoadAuthority(m Material, now time.Time) (*Authority, error) {
	chain, err := ParseCertificates(m.Chain)
	if err != nil {
		return nil, err
	}
	key, err := ParseKeyPEM(m.Key)
	if err != nil {
		return nil, err
	}
	if !keycheck.Equal(key.Public(), chain[0].PublicKey) {
		return nil, errKeyMismatch
	}
	if err := keycheck.Check(key.Public(), keycheck.Options{AllowP521: true}); err != nil {
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

// Certificate is the issuing certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.chain[0] }

// Chain is the issuing certificate and those above it without the root: what a client is given after its certificate (RFC
// 8555 section 9.1). An issuing certificate that is itself the root is in it all the same, since some clients (certbot) take
// a certificate alone for a broken answer.
func (a *Authority) Chain() []*x509.Certificate {
	last := len(a.chain) - 1
	if last > 0 && isRoot(a.chain[last]) {
		return slices.Clone(a.chain[:last])
	}
	return slices.Clone(a.chain)
}

// ChainPEM is Chain as PEM text.
func (a *Authority) ChainPEM() []byte { return EncodeCertificates(a.Chain()...) }

// TrustAnchors are the certificates to trust: the root, if it is known, else the topmost certificate that is.
func (a *Authority) TrustAnchors() []*x509.Certificate { return slices.Clone(a.anchors) }

// TrustAnchorsPEM is TrustAnchors as PEM text, for a trust bundle.
func (a *Authority) TrustAnchorsPEM() []byte { return EncodeCertificates(a.anchors...) }

// NotAfter is the last second at which the whole chain is valid, and so the last one that a certificate can have.
func (a *Authority) NotAfter() time.Time { return a.notAfter }

// CheckIdentifier says with a rejectedIdentifier problem why a normalized identifier is outside the CA's name constraints.
func (a *Authority) CheckIdentifier(id acme.Identifier) *acme.Problem {
	if cert := a.constraints.Check(id); cert != nil {
		return acme.NewProblem(acme.RejectedIdentifier, "%q is outside the name constraints of the CA certificate %s",
			id.Value, name(cert)).About(id)
	}
	return nil
}

// FullChain is the issuing certificate and those above it, with the root where that is known.
func (a *Authority) FullChain() []*x509.Certificate { return slices.Clone(a.chain) }

// CheckProfile says why certificates of a profile can't be verified under this CA: RFC 5280 leaves extended key usages in
// CA certificates open, and the verifiers of this world read them as a bound for what is below.
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

// trustAnchors is the root of a chain and those given besides, or the topmost certificate where no root is known.
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
		constraints: constraints.New(chain),
		notBefore:   chain[0].NotBefore,
		notAfter:    chain[0].NotAfter,
	}
	for _, cert := range chain[1:] {
		a.notBefore = validity.Later(a.notBefore, cert.NotBefore)
		a.notAfter = validity.Earlier(a.notAfter, cert.NotAfter)
	}
	return a, nil
}
