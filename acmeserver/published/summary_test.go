package published

import (
	"crypto/ed25519"
	"crypto/x509"
	"math/big"
	"testing"
	"time"
)

func numberedCRL(t testing.TB, number *big.Int, entries int) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	issuer := &x509.Certificate{SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}
	list := &x509.RevocationList{Number: number, ThisUpdate: time.Unix(1, 0), NextUpdate: time.Unix(4e9, 0)}
	for n := range entries {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(int64(n + 1)), RevocationTime: time.Unix(1, 0), ReasonCode: n % 2})
	}
	der, err := x509.CreateRevocationList(nil, list, issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestACRLIsSummarized(t *testing.T) {
	for _, entries := range []int{0, 1, 2, 300} {
		number := new(big.Int).Lsh(big.NewInt(int64(entries+1)), 70)
		if s := summaryOf(numberedCRL(t, number, entries)); s.Number == nil || s.Number.Cmp(number) != 0 || s.Entries != entries {
			t.Errorf("%d entries: %+v", entries, s)
		}
	}
}

// A summary has what crypto/x509 reads, where that reads a CRL.
func FuzzSummaryOf(f *testing.F) {
	f.Add(numberedCRL(f, big.NewInt(7), 3))
	f.Add(numberedCRL(f, big.NewInt(1), 0))
	f.Fuzz(func(t *testing.T, der []byte) {
		s := summaryOf(der)
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return
		}
		if s.Entries != len(list.RevokedCertificateEntries) || (list.Number == nil) != (s.Number == nil) || list.Number != nil && s.Number.Cmp(list.Number) != 0 {
			t.Errorf("%+v, but x509 reads number %s and %d entries", s, list.Number, len(list.RevokedCertificateEntries))
		}
	})
}
