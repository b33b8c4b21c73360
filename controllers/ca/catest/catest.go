// Package catest makes authorities for tests. Nothing but tests may import it.
package catest

import (
	"testing"
	"time"

	"github.com/acmeca/acmeca/controllers/ca"
)

const day = 24 * time.Hour

// Authority returns an authority with a root of its own, valid for ten years, from the day before now.
func Authority(tb testing.TB, now time.Time) *ca.Authority {
	tb.Helper()
	root, err := ca.NewRoot(ca.CAConfig{CommonName: "Root", KeyAlgorithm: ca.ECDSAP256, Lifetime: 3650 * day, Backdate: day}, now)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := root.KeyPEM()
	if err != nil {
		tb.Fatal(err)
	}
	authority, err := ca.LoadAuthority(ca.Material{Chain: root.CertificatePEM(), Key: key, SerialKey: make([]byte, ca.MinSerialKey)}, now)
	if err != nil {
		tb.Fatal(err)
	}
	return authority
}
