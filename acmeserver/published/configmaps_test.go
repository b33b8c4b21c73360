package published

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"math/big"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// configMaps is an API server with ConfigMaps.
type configMaps struct {
	client.Reader
	held  map[types.NamespacedName]*corev1.ConfigMap
	err   error
	reads int
}

func (c *configMaps) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.reads++
	if c.err != nil {
		return c.err
	}
	found, ok := c.held[key]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, key.Name)
	}
	found.DeepCopyInto(into.(*corev1.ConfigMap))
	return nil
}

var theIssuer = types.NamespacedName{Namespace: "ns", Name: "ca"}

func TestACRLIsReadAgainOnceItIsOld(t *testing.T) {
	name := types.NamespacedName{Namespace: "ns", Name: v1alpha1.CRLConfigMap("ca", "0")}
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{}}
	p, now := New(live), time.Now()
	if _, err := p.CRL(t.Context(), theIssuer, "0", now); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a CRL: %v", err)
	}
	live.held[name] = &corev1.ConfigMap{BinaryData: map[string][]byte{v1alpha1.CRLField: []byte("DER")}}
	if _, err := p.CRL(t.Context(), theIssuer, "0", now.Add(crlAge-1)); !errors.Is(err, store.ErrNotFound) || live.reads != 1 {
		t.Errorf("%v after %d reads", err, live.reads)
	}
	if crl, err := p.CRL(t.Context(), theIssuer, "0", now.Add(crlAge)); err != nil || string(crl.DER) != "DER" || live.reads != 2 {
		t.Errorf("%v, %v after %d reads", crl, err, live.reads)
	}
	live.err = errors.New("down")
	if _, err := p.CRL(t.Context(), theIssuer, "0", now.Add(time.Hour)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without an API server: %v", err)
	}
	live.err = nil
	for i := range 3 * maxCRLs {
		_, _ = p.CRL(t.Context(), theIssuer, strconv.Itoa(i), now)
	}
	if len(p.crls) > maxCRLs {
		t.Errorf("%d CRLs are kept", len(p.crls))
	}
}

// signedCRL returns a CRL.
func signedCRL(t *testing.T, now, nextUpdate time.Time) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer := &x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: nextUpdate}, signer, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestTheLastCRLIsServedWhileTheAPIServerIsDown(t *testing.T) {
	now := time.Now()
	der := signedCRL(t, now, now.Add(time.Hour))
	name := types.NamespacedName{Namespace: "ns", Name: v1alpha1.CRLConfigMap("ca", "0")}
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{name: {BinaryData: map[string][]byte{v1alpha1.CRLField: der}}}}
	p := New(live)
	for after, want := range map[time.Duration]error{0: nil, 30 * time.Minute: nil, 59 * time.Minute: nil, time.Hour + time.Second: store.ErrUnavailable} {
		live.err = nil
		if _, err := p.CRL(t.Context(), theIssuer, "0", now); err != nil {
			t.Fatal(err)
		}
		live.err, live.reads = errors.New("down"), 0
		for range 10 {
			if got, err := p.CRL(t.Context(), theIssuer, "0", now.Add(after)); !errors.Is(err, want) || err == nil && !bytes.Equal(got.DER, der) {
				t.Errorf("after %s: %v", after, err)
			}
		}
		if live.reads > 1 {
			t.Errorf("%d reads at once", live.reads)
		}
	}
}

func TestCertificatesOfADeletedIssuer(t *testing.T) {
	name := types.NamespacedName{Namespace: "ns", Name: v1alpha1.FormerConfigMap("ca")}
	held := &corev1.ConfigMap{Data: map[string]string{v1alpha1.TrustField: "roots", v1alpha1.AuthoritiesField: "authorities"}}
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{name: held}}
	p, now := New(live), time.Now()
	if _, err := p.Retained(t.Context(), theIssuer, now); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a ConfigMap of another purpose: %v", err)
	}
	held.Labels = map[string]string{v1alpha1.IssuerLabel: "ca"}
	if _, err := p.Retained(t.Context(), theIssuer, now.Add(retainedAge-1)); !errors.Is(err, store.ErrNotFound) || live.reads != 1 {
		t.Errorf("%v after %d reads", err, live.reads)
	}
	for range 2 {
		found, err := p.Retained(t.Context(), theIssuer, now.Add(retainedAge))
		if err != nil || found.Roots != "roots" || found.Authorities != "authorities" || live.reads != 2 {
			t.Errorf("%v, %v after %d reads", found, err, live.reads)
		}
	}
	if _, err := p.Retained(t.Context(), types.NamespacedName{Namespace: "N", Name: "a/b"}, now); !errors.Is(err, store.ErrNotFound) || live.reads != 2 {
		t.Errorf("a name that no issuer can have: %v after %d reads", err, live.reads)
	}
}

// Anyone can ask for issuers that do not exist, under any number of names.
func TestReadsOfUnknownIssuersAreBounded(t *testing.T) {
	live := &configMaps{}
	p, now := New(live), time.Now()
	busy := 0
	for i := range 10 * maxRetained {
		_, err := p.Retained(t.Context(), types.NamespacedName{Namespace: "ns", Name: strconv.Itoa(i)}, now)
		switch {
		case errors.Is(err, store.ErrBusy):
			busy++
		case !errors.Is(err, store.ErrNotFound):
			t.Fatal(err)
		}
		if i%20 == 19 {
			now = now.Add(500 * time.Millisecond)
		}
	}
	if busy == 0 || live.reads+busy != 10*maxRetained || live.reads > 10*maxRetained*3/4 {
		t.Errorf("%d reads, %d refused", live.reads, busy)
	}
	if len(p.retained) > maxRetained {
		t.Errorf("%d issuers are kept", len(p.retained))
	}
}
