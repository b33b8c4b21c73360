package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/acmeca/acmeca/controllers/ca"
)

// certificateFor returns a certificate for a key, with a name.
func certificateFor(t *testing.T, key crypto.Signer, name string) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A changed Secret takes minutes to be mounted. What the controllers publish for the mounted key is used at once.
func TestThePublishedCertificateIsUsedIfItHasTheMountedKey(t *testing.T) {
	keys := make([]crypto.Signer, 2)
	for i := range keys {
		var err error
		if keys[i], err = ca.GenerateKey(ca.ECDSAP256); err != nil {
			t.Fatal(err)
		}
	}
	mounted, err := ca.MarshalKeyPEM(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"tls.crt": certificateFor(t, keys[0], "mounted.test"), "tls.key": mounted} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		published []byte
		want      string
	}{
		"nothing is published":              {nil, "mounted.test"},
		"text":                              {[]byte("none"), "mounted.test"},
		"a block that is none":              {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("none")}), "mounted.test"},
		"a certificate for the key":         {certificateFor(t, keys[0], "published.test"), "published.test"},
		"one for the next key":              {certificateFor(t, keys[1], "published.test"), "mounted.test"},
		"one for the key, and a CA's below": {append(certificateFor(t, keys[0], "published.test"), certificateFor(t, keys[1], "ca.test")...), "published.test"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &serverCertificate{}
			if c.expiry() != 0 {
				t.Error("a certificate before it is mounted")
			}
			c.publish(test.published)
			if !c.wait(t.Context(), dir) {
				t.Fatal("no certificate")
			}
			got, err := c.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Leaf.DNSNames[0] != test.want || !keys[0].(*ecdsa.PrivateKey).Equal(got.PrivateKey) {
				t.Errorf("got %v", got.Leaf.DNSNames)
			}
			if c.expiry() != float64(got.Leaf.NotAfter.Unix()) {
				t.Errorf("expiry is %v", c.expiry())
			}
		})
	}
}
