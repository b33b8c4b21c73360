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
	status := &v1alpha1.AcmeIssuerStatus{CRLShards: []v1alpha1.CRLShards{{CA: v1alpha1.CAName(retired), Shards: 2}}}
	i := &issuers.Issuer{Spec: &v1alpha1.AcmeIssuerSpec{}, Status: status, Authorities: []*x509.Certificate{issuing, retired}}
	i.Spec.CRL.Shards = 3 // which the controllers have not taken up
	for name, want := range map[string]bool{
		v1alpha1.CAName(issuing): true, v1alpha1.CAName(retired): true, v1alpha1.CAName(foreign): false, v1alpha1.CAName(issuing)[1:]: false,
		v1alpha1.CRLShardName(issuing, 0): true, v1alpha1.CRLShardName(issuing, 2): true, v1alpha1.CRLShardName(issuing, 3): false,
		v1alpha1.CRLShardName(retired, 1): true, v1alpha1.CRLShardName(retired, 2): false, v1alpha1.CRLShardName(foreign, 0): false,
		v1alpha1.CRLShardPrefix(issuing) + "00": false, v1alpha1.CRLShardName(issuing, 0) + "-1700000000-0": false, "": false, "x": false,
	} {
		if got := i.HasCRL(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	i.Deleted = true
	if !i.HasCRL(v1alpha1.CRLShardName(issuing, 255)) || i.HasCRL(v1alpha1.CRLShardName(issuing, 256)) {
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
