package ca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

func TestIssueAndRevoke(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, alg := range []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048, Ed25519} {
		root, err := NewRoot(CAConfig{CommonName: "R", KeyAlgorithm: alg, Lifetime: 1000 * time.Hour}, now)
		if err != nil {
			t.Fatal(err)
		}
		im, err := NewIntermediate(CAConfig{CommonName: "I", KeyAlgorithm: alg, Lifetime: 1000 * time.Hour}, root, now)
		if err != nil {
			t.Fatal(err)
		}
		kp, _ := im.KeyPEM()
		a, err := LoadAuthority(Material{Chain: append(im.CertificatePEM(), root.CertificatePEM()...), Key: kp, SerialKey: make([]byte, 32)}, now)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewProfile(ProfileConfig{Name: "default", Lifetime: 100 * time.Hour, Backdate: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		k, _ := GenerateKey(alg)
		der, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
		csr, _ := x509.ParseCertificateRequest(der)
		r := Request{ID: "x", Identifiers: []acme.Identifier{{Type: acme.DNS, Value: "a.test"}, {Type: acme.IP, Value: "10.0.0.1"}}, CSR: csr, FinalizedAt: now, IssuerURL: "http://a/b.crt", CRLURL: "http://a/b.crl"}
		c1, err := a.Issue(p, r)
		if err != nil {
			t.Fatal(alg, err)
		}
		c2, err := a.Issue(p, r)
		if err != nil || !bytes.Equal(c1.Raw, c2.Raw) {
			t.Fatal("differ", err)
		}
		crl, err := a.SignCRL(CRL{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(100 * time.Hour), URL: "http://a/b.crl", Entries: []Entry{{Serial: c1.SerialNumber, RevokedAt: now, Reason: 1}}})
		if err != nil {
			t.Fatal(alg, err)
		}
		_ = crl
	}
}
