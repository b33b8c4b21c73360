package crl

import (
	"context"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// memory holds the ConfigMaps of a namespace.
type memory map[string]*corev1.ConfigMap

func (m memory) get(_ context.Context, name string) (*corev1.ConfigMap, error) {
	if found, ok := m[name]; ok {
		return found, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
}

func (m memory) Create(_ context.Context, part *corev1.ConfigMap) error {
	m[part.Name] = part
	return nil
}

func (m memory) Put(_ context.Context, head *corev1.ConfigMap) error {
	m[head.Name] = head.DeepCopy()
	return nil
}

func (m memory) Delete(_ context.Context, name string) error {
	delete(m, name)
	return nil
}

// manyRevoked returns entries with serial numbers of the usual size.
func manyRevoked(total int, now time.Time) []ca.Entry {
	random, reasons := rand.New(rand.NewChaCha8([32]byte{1})), []ca.Reason{0, 1, 3, 4, 5, 9}
	entries := make([]ca.Entry, 0, total)
	for i := range total {
		var serial [16]byte
		binary.BigEndian.PutUint64(serial[:], random.Uint64()|1<<63) // of the full length
		binary.BigEndian.PutUint64(serial[8:], random.Uint64())
		entries = append(entries, ca.Entry{Serial: new(big.Int).SetBytes(serial[:]), RevokedAt: now.Add(-time.Hour), Reason: reasons[i%len(reasons)], NotAfter: now.Add(time.Hour)})
	}
	return entries
}

// A complete CRL with a hundred thousand revoked certificates, or as many as ACMECA_REVOKED says, takes one more revocation. Each
// ConfigMap has room for its part, and no entry is lost. The log has the time and the memory of each step.
func TestManyRevoked(t *testing.T) {
	total := 100_000
	if text := os.Getenv("ACMECA_REVOKED"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	authority, stored := testAuthority(t, now), memory{}
	head := &corev1.ConfigMap{}
	head.Name = "ca-crl-0123456789"
	begun := time.Now()
	step := func(what string) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%-36s %8s  %4d MB in use, %4d MB from the system", what, time.Since(begun).Round(time.Millisecond), m.HeapAlloc>>20, m.Sys>>20)
		begun = time.Now()
	}
	last := &publishedCRL{}
	revoked := manyRevoked(total, now)
	step("entries made")
	for round := range 2 {
		now = now.Add(10 * time.Minute)
		next, _ := nextCRL(last, revoked, now, now.Add(24*time.Hour), "", false)
		step("entries merged")
		der, err := authority.SignNextCRL(next, last.entries())
		if err != nil {
			t.Fatal(err)
		}
		step("linted and signed")
		if err := guard(last.crl, der, authority.Certificate()); err != nil {
			t.Fatal(err)
		}
		step("checked against the last CRL")
		content := crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(next.Entries)}
		if err := crlstore.Write(t.Context(), stored, head, next.Number.String(), content); err != nil {
			t.Fatal(err)
		}
		step("stored")
		last = &publishedCRL{head: head, crl: &next, size: len(der)}
		if round == 0 {
			revoked = []ca.Entry{{Serial: big.NewInt(1), RevokedAt: now, NotAfter: now.Add(time.Hour)}}
		}
	}
	for name, configMap := range stored {
		if configMap.Size() > 1<<20 {
			t.Errorf("%s has %d bytes", name, configMap.Size())
		}
	}
	_, content, err := crlstore.Read(t.Context(), stored.get, head.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ca.ParseCRL(content.DER, authority.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	if err := read.SetExpiries(content.Expiries); err != nil {
		t.Fatal(err)
	}
	step("read")
	if len(read.Entries) != total+1 || hasNew(read.Entries, last.entries()) || !lists(read.Entries, big.NewInt(1)) {
		t.Errorf("%d of %d certificates are listed", len(read.Entries), total+1)
	}
	t.Logf("%d entries in %d bytes and %d ConfigMaps, at most every %s", len(read.Entries), len(content.DER), len(stored), intervalFor(len(content.DER)))
}
