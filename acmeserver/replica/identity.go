package replica

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"sync/atomic"
	"time"
)

// Identity is what replicas know each other by. It may be replaced while it is used.
type Identity struct {
	known atomic.Pointer[known]
}

type known struct {
	certificate tls.Certificate
	keys        []ed25519.PublicKey
}

// Set replaces what is known by what follows from secrets: a replica shows that it has the first one, and accepts others
// that have any.
func (i *Identity) Set(secrets ...[]byte) error {
	if len(secrets) == 0 {
		return errors.New("there is no secret")
	}
	k := &known{}
	for number, secret := range secrets {
		seed, err := hkdf.Key(sha256.New, secret, nil, "acmeca.dev/replica", ed25519.SeedSize)
		if err != nil {
			return err
		}
		key := ed25519.NewKeyFromSeed(seed)
		k.keys = append(k.keys, key.Public().(ed25519.PublicKey))
		if number == 0 {
			if k.certificate, err = certify(key); err != nil {
				return err
			}
		}
	}
	i.known.Store(k)
	return nil
}

// certify makes the certificate that TLS wants around a key. Nobody looks at more of it than the key.
func certify(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acmeca server"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 section 4.1.2.5
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

var errStranger = errors.New("the other side has none of the secrets that the ACME server's replicas share")

// verify accepts whoever has proved to have one of the keys.
func (i *Identity) verify(state tls.ConnectionState) error {
	k := i.known.Load()
	if k == nil || len(state.PeerCertificates) == 0 {
		return errStranger
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || !slices.ContainsFunc(k.keys, func(known ed25519.PublicKey) bool { return known.Equal(key) }) {
		return errStranger
	}
	return nil
}

func (i *Identity) certificate() (*tls.Certificate, error) {
	k := i.known.Load()
	if k == nil {
		return nil, errors.New("there is no secret yet")
	}
	return &k.certificate, nil
}

// Server is the TLS of a replica that is asked.
func (i *Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		ClientAuth: tls.RequireAnyClientCert, VerifyConnection: i.verify, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() },
	}
}

// client is the TLS of a replica that asks.
func (i *Identity) client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		InsecureSkipVerify:   true, //nolint:gosec // what counts is the key, which VerifyConnection compares
		VerifyConnection:     i.verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate() },
	}
}
