package crl

import (
	"math/big"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
)

func entry(serial int64, revokedAt, notAfter time.Time) ca.Entry {
	return ca.Entry{Serial: big.NewInt(serial), RevokedAt: revokedAt, NotAfter: notAfter}
}

// A full shard is renewed with all its entries, and takes the earliest further revocation once an entry is dropped.
func TestFullShardIsRenewed(t *testing.T) {
	const url = "http://ca.test/0.crl"
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	soon, far := start.Add(time.Hour), start.Add(1000*time.Hour)
	listed := []ca.Entry{entry(1, start, soon)}
	for i := range int64(ca.MaxEntries - 1) {
		listed = append(listed, entry(10+2*i, start, far))
	}
	last := &publishedCRL{configMap: &corev1.ConfigMap{}, crl: &ca.CRL{Number: big.NewInt(1), ThisUpdate: start, NextUpdate: start.Add(24 * time.Hour), URLs: []string{url}, Entries: listed}}
	late, early := entry(11, start.Add(2*time.Minute), far), entry(13, start.Add(time.Minute), far)
	revoked := []ca.Entry{late, early}

	if _, due, unlisted := nextCRL(last, revoked, start.Add(time.Minute), start.Add(25*time.Hour), url, false); due <= 0 || unlisted != 2 {
		t.Errorf("due in %v with %d unlisted, want later with 2", due, unlisted)
	}
	now := start.Add(12 * time.Hour)
	renewed, due, unlisted := nextCRL(last, revoked, now, now.Add(24*time.Hour), url, false)
	if due != 0 || unlisted != 2 || len(renewed.Entries) != ca.MaxEntries || hasNew(listed, renewed.Entries) || hasNew(renewed.Entries, listed) {
		t.Fatalf("due in %v with %d unlisted and %d entries, want the listed ones now", due, unlisted, len(renewed.Entries))
	}
	last.crl = &renewed
	next, _, unlisted := nextCRL(last, revoked, now.Add(time.Minute), now.Add(25*time.Hour), url, false)
	if unlisted != 1 || len(next.Entries) != ca.MaxEntries || !lists(next.Entries, early.Serial) || lists(next.Entries, late.Serial) {
		t.Errorf("%d unlisted and %d entries, want the earliest further revocation in the place of the expired one", unlisted, len(next.Entries))
	}
	for i := 1; i < len(next.Entries); i++ {
		if next.Entries[i-1].Serial.Cmp(next.Entries[i].Serial) >= 0 {
			t.Fatal("the entries are not sorted by serial number")
		}
	}
}

// A deleted issuer leaves nothing in memory.
func TestForget(t *testing.T) {
	p := &Publisher{}
	for _, name := range []string{"gone", "other"} {
		p.keep(request(name), &publishedCRL{})
		p.setUnlisted(request(name), 1)
	}
	p.Forget(client.ObjectKey{Namespace: "ns", Name: "gone"})
	if len(p.published) != 1 || len(p.unlisted) != 1 || p.published[request("other")] == nil {
		t.Errorf("left: %v, %v", p.published, p.unlisted)
	}
}

func request(issuer string) issuers.CRLRequest {
	return issuers.CRLRequest{Namespace: "ns", Issuer: issuer, Name: "0"}
}
