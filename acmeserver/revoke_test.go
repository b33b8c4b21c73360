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
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Whatever a client asks to revoke, the answer is a problem of the client: no input is a certificate of the issuer.
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
	s := &Server{store: storetest.New(f).Store, now: time.Now}
	f.Fuzz(func(t *testing.T, der []byte) {
		c := &call{issuer: &issuers.Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}}, Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)}
		_, err := s.orderToRevoke(&request{call: c}, der)
		if errors.Is(err, store.ErrBusy) {
			return // lists by serial numbers of earlier versions are paced
		}
		if err == nil || answer.ProblemOf(t.Context(), err).Status >= http.StatusInternalServerError {
			t.Errorf("%v", err)
		}
	})
}

// A client can revoke a certificate at a replica whose cache lags behind, or does not hold the order.
func TestACertificateIsRevokedWhateverTheCacheHolds(t *testing.T) {
	authority, cluster := newAuthority(t), storetest.New(t)
	s := &Server{store: cluster.Store, now: time.Now}
	r := &request{call: &call{
		Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil),
		issuer:  &issuers.Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}},
	}, account: &v1alpha1.AcmeAccount{}}
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.ResourceVersion = "ns", newID(), "7"
	order.Spec.IssuerRef.Name, order.Status.State = "ca", acme.StateProcessing
	serial, _ := acme.OrderSerial(order.Name, 1)
	other, _ := acme.OrderSerial(order.Name, 2)
	der := authority.issue(t, serial, time.Now())
	find := func(der []byte, status int) {
		t.Helper()
		found, err := s.orderToRevoke(r, der)
		switch {
		case status != http.StatusOK && (err == nil || answer.ProblemOf(t.Context(), err).Status != status):
			t.Errorf("%v, %v; want %d", found, err, status)
		case status == http.StatusOK && (err != nil || found.Name != order.Name):
			t.Errorf("%v, %v", found, err)
		}
	}
	find(der, http.StatusNotFound)
	cluster.Deliver(order)
	find(der, http.StatusNotFound)
	issued := order.DeepCopy()
	issued.ResourceVersion, issued.Status.State, issued.Status.Serial = "8", acme.StateValid, v1alpha1.SerialText(serial)
	issued.Status.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	cluster.Live.Put(issued)
	find(der, http.StatusOK) // the cache has no certificate yet
	cluster.Finish(issued)
	find(der, http.StatusOK)
	cluster.Finished.Missed()
	find(der, http.StatusOK)
	find(authority.issue(t, other, time.Now()), http.StatusNotFound)
	find(newAuthority(t).issue(t, serial, time.Now()), http.StatusNotFound)
	r.issuer.Key.Name = "another"
	find(der, http.StatusNotFound)
}

// A client that revokes its own certificates fills the CRL.
func TestRevocationsAreLimitedByAccount(t *testing.T) {
	s := newServed(t)
	issuer := s.setOrderLimit(t, nil)
	issuer.Spec.RateLimits.Revocations = &v1alpha1.RateLimit{Count: 2, Period: metav1.Duration{Duration: time.Hour}}
	r := &request{call: &call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), issuer: issuer}}
	order := func(name, account string, change func(*v1alpha1.AcmeOrder)) *v1alpha1.AcmeOrder {
		o := &v1alpha1.AcmeOrder{}
		o.Namespace, o.Name, o.UID, o.Spec.AccountRef.Name, o.Status.State = "ns", name, types.UID(name), account, acme.StateValid
		change(o)
		s.cluster.Deliver(o)
		return o
	}
	revoked := func(age time.Duration) func(*v1alpha1.AcmeOrder) {
		return func(o *v1alpha1.AcmeOrder) {
			at := metav1.NewTime(time.Now().Add(-age))
			o.Spec.Revocation, o.Status.RevokedAt = &v1alpha1.Revocation{}, &at
		}
	}
	asked := func(o *v1alpha1.AcmeOrder) { o.Spec.Revocation = &v1alpha1.Revocation{} }
	refused := func(o *v1alpha1.AcmeOrder) {
		asked(o)
		o.Status.Revocation = &v1alpha1.HandledRequest{Digest: o.Spec.Revocation.Digest(), Problem: &v1alpha1.Problem{}}
	}
	none := func(*v1alpha1.AcmeOrder) {}
	order("long ago", "a", revoked(2*time.Hour))
	order("another's", "b", revoked(time.Minute))
	order("refused", "a", refused)
	order("recent", "a", revoked(time.Minute))
	next := order("next", "a", none)
	if err := s.limitRevocations(r, next); err != nil {
		t.Errorf("the second in an hour: %v", err)
	}
	pending := order("asked", "a", asked)
	err := s.limitRevocations(r, next)
	if err == nil {
		t.Fatal("a third in an hour is allowed")
	}
	if p := answer.ProblemOf(t.Context(), err); p.Status != http.StatusTooManyRequests || p.Type != acme.RateLimited {
		t.Errorf("got %v", p)
	}
	if err := s.limitRevocations(r, pending); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	if err := s.limitRevocations(r, order("of b", "b", none)); err != nil {
		t.Errorf("of another account: %v", err)
	}
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

func (a authority) issue(t *testing.T, serial *big.Int, from time.Time) []byte {
	t.Helper()
	return a.sign(t, &x509.Certificate{SerialNumber: serial, DNSNames: []string{"a.test"}, NotBefore: from, NotAfter: from.Add(24 * time.Hour)})
}
