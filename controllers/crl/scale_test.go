package crl

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// maxConfigMap is the API server's bound for the data of a ConfigMap, in bytes.
const maxConfigMap = 1 << 20

// A hundred thousand revoked certificates, or a million with ACMECA_LONG=1, fit the shards of an issuer, and each shard fits its
// ConfigMap. No entry is lost.
func TestManyRevoked(t *testing.T) {
	total, shards := 100_000, 13
	if os.Getenv("ACMECA_LONG") == "1" {
		total, shards = 1_000_000, 128
	}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	root, err := ca.NewRoot(ca.CAConfig{CommonName: "Root", KeyAlgorithm: ca.ECDSAP256, Lifetime: 10 * 8760 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := root.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.LoadAuthority(ca.Material{Chain: root.CertificatePEM(), Key: key, SerialKey: make([]byte, ca.MinSerialKey)}, now)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	reasons := []ca.Reason{0, 1, 3, 4, 5, 9}
	entries := map[string][]ca.Entry{}
	for i := range total {
		var serial [16]byte
		binary.BigEndian.PutUint64(serial[:], random.Uint64()|1<<63) // of the full length
		binary.BigEndian.PutUint64(serial[8:], random.Uint64())
		shard := v1alpha1.CRLName(authority.Certificate(), shards, fmt.Sprintf("%08x-0000-4000-8000-%012x", random.Uint32(), i))
		entries[shard] = append(entries[shard], ca.Entry{
			Serial: new(big.Int).SetBytes(serial[:]), RevokedAt: now.Add(-time.Hour), Reason: reasons[i%len(reasons)], NotAfter: now.Add(time.Hour),
		})
	}
	if len(entries) != shards {
		t.Fatalf("%d of %d shards are used", len(entries), shards)
	}
	var listed, largest, fullest int
	start := time.Now()
	for shard, revoked := range entries {
		crl := ca.CRL{Number: big.NewInt(now.Unix()), ThisUpdate: now, NextUpdate: now.Add(time.Hour), URLs: []string{"http://ca.test/crl/" + shard + ".crl"}, Entries: revoked}
		der, err := authority.SignCRL(crl)
		if err != nil {
			t.Fatal(err)
		}
		expiries := ca.MarshalExpiries(revoked)
		if size := len(der) + len(expiries); size > maxConfigMap {
			t.Errorf("shard %s with %d entries takes %d bytes", shard, len(revoked), size)
		} else {
			largest = max(largest, size)
		}
		read, err := ca.ParseCRL(der, authority.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		if err := read.SetExpiries(expiries); err != nil {
			t.Fatal(err)
		}
		for _, entry := range revoked {
			if !lists(read.Entries, entry.Serial) {
				t.Fatalf("shard %s has lost %x", shard, entry.Serial)
			}
		}
		listed += len(read.Entries)
		fullest = max(fullest, len(read.Entries))
	}
	if listed != total {
		t.Errorf("%d of %d certificates are listed", listed, total)
	}
	t.Logf("%d certificates in %d shards: at most %d entries and %d bytes in one, %s in all", listed, shards, fullest, largest, time.Since(start).Round(time.Millisecond))
}
