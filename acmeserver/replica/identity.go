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

// Identity authenticates replicas to each other. Its secrets may be replaced during use.
type Identity struct {
	known atomic.Pointer[known]
}

type known struct {
	certificate tls.Certificate
	keys        []ed25519.PublicKey
}

// Set replaces the secrets. The replica proves that it has the first one, and accepts replicas that have any of them.
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

// certify returns the certificate that TLS needs around a key. Only its key is verified.
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

var errNotAReplica = errors.New("the peer has none of the secrets that the replicas of the ACME server share")

// verify accepts a peer that has proved possession of one of the keys.
func (i *Identity) verify(state tls.ConnectionState) error {
	k := i.known.Load()
	if k == nil || len(state.PeerCertificates) == 0 {
		return errNotAReplica
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || !slices.ContainsFunc(k.keys, func(known ed25519.PublicKey) bool { return known.Equal(key) }) {
		return errNotAReplica
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

// Server returns the TLS configuration of a replica that redeems nonces.
func (i *Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		ClientAuth: tls.RequireAnyClientCert, VerifyConnection: i.verify, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() },
	}
}

// client returns the TLS configuration of a replica that asks for a redemption.
func (i *Identity) client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection compares the key
		VerifyConnection:     i.verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate() },
	}
}
