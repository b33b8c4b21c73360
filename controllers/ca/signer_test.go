package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

// captureTBS returns the bytes that crypto/x509 would sign.
func TestCaptureTBS(t *testing.T) {
	for _, algorithm := range []KeyAlgorithm{RSA2048, ECDSAP256, ECDSAP384, Ed25519} {
		key := must(GenerateKey(algorithm))
		template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Unix(1_900_000_000, 0)}
		create := func(key crypto.Signer) ([]byte, error) {
			return x509.CreateCertificate(nil, template, template, key.Public(), key)
		}
		body := must(captureTBS(key.Public(), create))
		whole := must(x509.ParseCertificate(must(create(key))))
		if !bytes.Equal(body.tbs, whole.RawTBSCertificate) {
			t.Errorf("%s: captureTBS returned other bytes than are signed", algorithm)
		}
		again := must(body.with(whole.Signature))
		if !bytes.Equal(again, whole.Raw) {
			t.Errorf("%s: the assembled certificate differs", algorithm)
		}
	}
}

func TestCaptureTBSFails(t *testing.T) {
	broken := errors.New("broken")
	key := must(GenerateKey(ECDSAP256))
	if _, err := captureTBS(key.Public(), func(crypto.Signer) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := captureTBS(key.Public(), func(crypto.Signer) ([]byte, error) { return nil, nil }); err == nil {
		t.Error("nothing was kept, and nobody says so")
	}
	for _, tbs := range [][]byte{nil, {0x30, 0}, {0x30, 3, 2, 1, 1}, {0x04, 0}} {
		if _, err := algorithmIn(tbs); err == nil {
			t.Errorf("an algorithm was found in %x", tbs)
		}
	}
}
