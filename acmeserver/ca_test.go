package acmeserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func caCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// Anyone can ask for any number of CRLs. Only names that the issuer can have lead to a read of the API server.
func TestOnlyCRLsOfTheIssuerAreRead(t *testing.T) {
	issuing, retired, foreign := caCertificate(t), caCertificate(t), caCertificate(t)
	i := &issuers.Issuer{Spec: &v1alpha1.AcmeIssuerSpec{}, Authorities: []*x509.Certificate{issuing, retired}}
	i.Spec.CRL.Shards = 2
	for name, want := range map[string]bool{
		v1alpha1.CAName(issuing): true, v1alpha1.CAName(retired): true, v1alpha1.CAName(foreign): false, v1alpha1.CAName(issuing)[1:]: false,
		v1alpha1.CRLShardName(issuing, 0): true, v1alpha1.CRLShardName(issuing, 1): true, v1alpha1.CRLShardName(retired, 1): true,
		v1alpha1.CRLShardName(issuing, 2): false, v1alpha1.CRLShardName(foreign, 0): false, "": false, "x": false,
		v1alpha1.CRLShardPrefix(issuing) + "00": false,
	} {
		if got := hasCRL(i, name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	i.Spec.CRL.Shards = 0 // the issuer was deleted
	if !hasCRL(i, v1alpha1.CRLShardName(issuing, 255)) || hasCRL(i, v1alpha1.CRLShardName(issuing, 256)) {
		t.Error("a deleted issuer has up to 256 shards")
	}
}

func TestUnknownCRLsReachNoAPIServer(t *testing.T) {
	s := newServed(t)
	reads := 0
	s.cluster.Live.Fail = func() error { reads++; return nil }
	for n := range 4000 {
		if w := s.get(t, fmt.Sprintf("crl/%010x-%d.crl", n, n%8)); w.Code != 404 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if reads != 0 {
		t.Errorf("%d reads of the API server", reads)
	}
}
