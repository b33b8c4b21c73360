package acmeserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
)

// Whatever a client asks to have revoked, the answer is a problem of its own: none of these is a certificate of the issuer's.
func FuzzCertificateToRevoke(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, serial := range []*big.Int{big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 159)} {
		template := &x509.Certificate{SerialNumber: serial, DNSNames: []string{"a.test"}, NotBefore: issued, NotAfter: issued.Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
		f.Add(der[:len(der)-1])
	}
	f.Add([]byte{})
	s := serverWithStores()
	f.Fuzz(func(t *testing.T, der []byte) {
		c := &call{issuer: &issuer{key: types.NamespacedName{Namespace: "ns", Name: "ca"}}, Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)}
		_, err := s.orderWithCertificate(&signed{call: c}, der)
		if problem, ok := errors.AsType[*acme.Problem](err); !ok || problem.Status >= http.StatusInternalServerError {
			t.Errorf("%v", err)
		}
	})
}
