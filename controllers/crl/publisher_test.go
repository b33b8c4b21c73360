package crl

import (
	"errors"
	"maps"
	"math/big"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/ca/catest"
	"github.com/acmeca/acmeca/controllers/issuers"
)

func entry(serial int64, revokedAt, notAfter time.Time) ca.Entry {
	return ca.Entry{Serial: big.NewInt(serial), RevokedAt: revokedAt, NotAfter: notAfter}
}

func entries(list ...ca.Entry) ca.Entries {
	packed, err := ca.NewEntries(list...)
	if err != nil {
		panic(err)
	}
	return packed
}

// A CRL that the guard refuses isn't written, and the last one stays in memory.
func TestRefusedCRLIsNotStored(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	authority, p := catest.Authority(t, start), &Publisher{} // without a client, so that a write panics
	last := &publishedCRL{crl: &ca.CRL{Number: big.NewInt(1), ThisUpdate: start, NextUpdate: start.Add(time.Hour), Entries: entries(entry(7, start, start.Add(1000*time.Hour)))}}
	p.keep(request("ca"), last)
	next := ca.CRL{Number: big.NewInt(2), ThisUpdate: start.Add(time.Minute), NextUpdate: start.Add(2 * time.Hour)}
	der, err := authority.SignCRL(next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store(t.Context(), request("ca"), last, &next, der, authority.Certificate()); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	if state := p.crls[request("ca")]; !state.refused || state.last != last {
		t.Errorf("%+v", state)
	}
}

// The time between two CRLs grows with their size, so that no CRL stops and etcd isn't flooded.
func TestInterval(t *testing.T) {
	for size, want := range map[int]time.Duration{
		0: Interval, quickSize: Interval, quickSize + 10*writeRate: 10 * time.Second, quickSize + 200*writeRate: 200 * time.Second,
	} {
		if got := intervalFor(size); got != want {
			t.Errorf("%d bytes: %v, want %v", size, got, want)
		}
	}
}

// A deleted issuer leaves nothing in memory.
func TestForget(t *testing.T) {
	p := &Publisher{}
	for _, name := range []string{"gone", "other"} {
		p.keep(request(name), &publishedCRL{})
		p.setRefused(request(name), true)
	}
	p.Forget(client.ObjectKey{Namespace: "ns", Name: "gone"})
	if len(p.crls) != 1 || p.crls[request("other")] == nil {
		t.Errorf("left: %v", p.crls)
	}
}

func request(issuer string) issuers.CRLRequest {
	return issuers.CRLRequest{Namespace: "ns", Issuer: issuer, Name: "0"}
}

// CRLs count for the stored bytes of their issuer, until it is forgotten.
func TestStoredBytes(t *testing.T) {
	stored := map[types.NamespacedName]int64{}
	p := &Publisher{Stored: func(kind string, bytes map[types.NamespacedName]int64) {
		if kind != "CRL" {
			t.Errorf("counted as %s", kind)
		}
		for issuer, n := range bytes {
			stored[issuer] += n
		}
	}}
	head, inParts := &corev1.ConfigMap{}, &corev1.ConfigMap{Data: map[string]string{"manifest": "1 4 3145728 00"}}
	gone := types.NamespacedName{Namespace: "ns", Name: "gone"}
	for _, test := range []struct {
		what      string
		published *publishedCRL
		want      int64
	}{
		{"a first CRL", &publishedCRL{head: head, size: 300}, 300},
		{"a longer one", &publishedCRL{head: head, size: 500}, 500},
		{"a write that failed", &publishedCRL{}, 500},
		{"one in parts, beside the parts of the former one", &publishedCRL{head: inParts, size: 3 << 20}, 6 << 20},
		{"one in parts below a MiB, for its expiries", &publishedCRL{head: inParts, size: 900 << 10}, 1800 << 10},
	} {
		if p.keep(request("gone"), test.published); stored[gone] != test.want {
			t.Errorf("%s: %d bytes are counted, want %d", test.what, stored[gone], test.want)
		}
	}
	p.keep(request("other"), &publishedCRL{head: head, size: 1})
	p.Forget(gone)
	if want := map[types.NamespacedName]int64{gone: 0, {Namespace: "ns", Name: "other"}: 1}; !maps.Equal(stored, want) {
		t.Errorf("at the end %v are counted, want %v", stored, want)
	}
}
