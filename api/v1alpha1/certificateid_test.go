package v1alpha1_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// certificatePEM returns a certificate whose CA has the key identifier, in PEM.
func certificatePEM(t *testing.T, authorityKey []byte, serial int64) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), AuthorityKeyId: authorityKey}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCertificateID(t *testing.T) {
	leaf := certificatePEM(t, []byte("key"), 0x1234)
	for name, test := range map[string]struct {
		status v1alpha1.AcmeOrderStatus
		want   string
	}{
		"of a certificate":                {v1alpha1.AcmeOrderStatus{Certificate: leaf}, acme.NewCertID([]byte("key"), big.NewInt(0x1234)).String()},
		"of a certificate with its chain": {v1alpha1.AcmeOrderStatus{Certificate: leaf + certificatePEM(t, []byte("root"), 1)}, "a2V5.EjQ"},
		"that an earlier version stored":  {v1alpha1.AcmeOrderStatus{Certificate: leaf, CertificateID: "YQ.YQ"}, "YQ.YQ"},
		"without an authority key":        {v1alpha1.AcmeOrderStatus{Certificate: certificatePEM(t, nil, 1)}, ""},
		"without a certificate":           {v1alpha1.AcmeOrderStatus{}, ""},
		"of something else":               {v1alpha1.AcmeOrderStatus{Certificate: "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			order := &v1alpha1.AcmeOrder{Status: test.status}
			if got := order.CertificateID(); got != test.want {
				t.Errorf("%q, not %q", got, test.want)
			}
		})
	}
}
