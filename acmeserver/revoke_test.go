package acmeserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
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
	s.now = time.Now
	f.Fuzz(func(t *testing.T, der []byte) {
		c := &call{issuer: &issuer{key: types.NamespacedName{Namespace: "ns", Name: "ca"}}, Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)}
		_, err := s.orderWithCertificate(&signed{call: c}, der)
		if problem, ok := errors.AsType[*acme.Problem](err); !ok || problem.Status >= http.StatusInternalServerError {
			t.Errorf("%v", err)
		}
	})
}

// Who lost the answer with a certificate, and the nonce in it, can revoke it at a replica whose watch is behind.
func TestARevocationAwaitsTheOrderOfAFreshCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, others := newAuthority(t), newAuthority(t)
		s := serverWithStores()
		var cached *shelf
		s.orders, cached, _ = newTestStore()
		s.now, s.texts = time.Now, NewTexts()
		c := &call{
			Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil),
			issuer:  &issuer{key: types.NamespacedName{Namespace: orderKey.Namespace, Name: "ca"}, authorities: []*x509.Certificate{ours.certificate}},
		}
		r := &signed{call: c, account: &v1alpha1.AcmeAccount{}}
		fresh := ours.issue(t, 0xabc, time.Now())
		for what, test := range map[string]struct {
			der    []byte
			status int
		}{
			"a fresh one":             {fresh, http.StatusServiceUnavailable},
			"one of another CA":       {others.issue(t, 0xabc, time.Now()), http.StatusNotFound},
			"one that isn't so fresh": {ours.issue(t, 0xabc, time.Now().Add(-lately)), http.StatusNotFound},
		} {
			if order, err := s.orderWithCertificate(r, test.der); order != nil || err == nil || problemOf(t.Context(), err).Status != test.status {
				t.Errorf("%s that isn't known: %v, %v", what, order, err)
			}
		}
		found := make(chan *v1alpha1.AcmeOrder)
		go func() {
			order, err := s.orderWithCertificate(r, fresh)
			if err != nil {
				t.Error(err)
			}
			found <- order
		}()
		synctest.Wait()
		order := orderAt("7", acme.StateValid)
		order.Spec.IssuerRef.Name, order.Status.Serial = "ca", v1alpha1.SerialText(big.NewInt(0xabc))
		order.Status.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fresh}))
		cached.put(order)
		s.serials.Handler().OnAdd(order, false)
		s.orders.observed(order)
		if order := <-found; order == nil {
			t.Error("it isn't found")
		}
	})
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{key: key}
	a.certificate = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	if a.certificate, err = x509.ParseCertificate(a.sign(t, a.certificate)); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) sign(t *testing.T, template *x509.Certificate) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a authority) issue(t *testing.T, serial int64, from time.Time) []byte {
	t.Helper()
	return a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"a.test"}, NotBefore: from, NotAfter: from.Add(24 * time.Hour)})
}
