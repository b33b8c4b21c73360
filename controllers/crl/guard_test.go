package crl

import (
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/ca/catest"
)

func TestGuard(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	const url, other = "http://ca.test/0.crl", "http://ca.test/1.crl"
	authority, foreign := catest.Authority(t, start), catest.Authority(t, start)
	expired, far := start.Add(-2*time.Hour), start.Add(1000*time.Hour)
	last := ca.CRL{Number: big.NewInt(5), ThisUpdate: start, NextUpdate: start.Add(24 * time.Hour), URLs: []string{url}, Entries: entries(
		entry(1, start.Add(-time.Hour), far), entry(2, start.Add(-9*time.Hour), expired), entry(3, start.Add(-time.Hour), time.Time{}), entry(4, start.Add(-time.Hour), far),
	)}
	keep := func(listed ca.Entries, serials ...int64) ca.Entries {
		var kept ca.Entries
		for _, serial := range serials {
			kept = append(kept, *listed.Find(big.NewInt(serial)))
		}
		return kept
	}
	for name, test := range map[string]struct {
		edit   func(next *ca.CRL)
		signer *ca.Authority
		spoil  func(der []byte) []byte
		want   string
	}{
		"the same entries":         {},
		"a new entry":              {edit: func(next *ca.CRL) { next.Entries = next.Entries.Merge(entries(entry(9, start, far))) }},
		"an expired entry leaves":  {edit: func(next *ca.CRL) { next.Entries = keep(next.Entries, 1, 3, 4) }},
		"the first entry vanishes": {edit: func(next *ca.CRL) { next.Entries = keep(next.Entries, 2, 3, 4) }, want: "certificate 1 is not listed any more"},
		"the last entry vanishes":  {edit: func(next *ca.CRL) { next.Entries = keep(next.Entries, 1, 2, 3) }, want: "certificate 4 is not listed any more"},
		"an unknown expiry":        {edit: func(next *ca.CRL) { next.Entries = keep(next.Entries, 1, 2, 4) }, want: "certificate 3 is not listed any more"},
		"all entries vanish":       {edit: func(next *ca.CRL) { next.Entries = nil }, want: "certificate 1 is not listed any more"},
		"a later revocation":       {edit: func(next *ca.CRL) { next.Entries = keep(next.Entries, 1, 2, 3).Merge(entries(entry(4, start, far))) }, want: "revoked later than before"},
		"an earlier revocation": {edit: func(next *ca.CRL) {
			next.Entries = keep(next.Entries, 1, 2, 3).Merge(entries(entry(4, start.Add(-2*time.Hour), far)))
		}},
		"the same number":           {edit: func(next *ca.CRL) { next.Number = big.NewInt(5) }, want: "number 5 is not above 5"},
		"another URL in front":      {edit: func(next *ca.CRL) { next.URLs = []string{other, url} }},
		"another URL instead":       {edit: func(next *ca.CRL) { next.URLs = []string{other} }, want: "is missing"},
		"a shard becomes complete":  {edit: func(next *ca.CRL) { next.URLs = nil }, want: "the scope changes"},
		"another CA":                {signer: foreign, want: "another issuer"},
		"a signature that is wrong": {spoil: func(der []byte) []byte { der[len(der)-1] ^= 1; return der }, want: "signature"},
		"an entry that was flipped": {spoil: func(der []byte) []byte {
			return []byte(strings.Replace(string(der), "\x02\x01\x04", "\x02\x01\x05", 1))
		}, want: "signature"},
		"bytes that are not a CRL": {spoil: func([]byte) []byte { return []byte("garbage") }, want: "cannot be read"},
		"nothing":                  {spoil: func([]byte) []byte { return nil }, want: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			next := last
			next.Number, next.ThisUpdate, next.NextUpdate = big.NewInt(6), start.Add(time.Minute), start.Add(25*time.Hour)
			next.Entries = slices.Clone(last.Entries)
			if test.edit != nil {
				test.edit(&next)
			}
			signer := authority
			if test.signer != nil {
				signer = test.signer
			}
			der, err := signer.SignCRL(next)
			if err != nil {
				t.Fatal(err)
			}
			if test.spoil != nil {
				der = test.spoil(der)
			}
			err = guard(&last, der, authority.Certificate())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A first CRL has nothing to be compared with, but must be one of the CA.
func TestGuardOfFirstCRL(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	authority, foreign := catest.Authority(t, start), catest.Authority(t, start)
	der, err := authority.SignCRL(ca.CRL{Number: big.NewInt(1), ThisUpdate: start, NextUpdate: start.Add(time.Hour), Entries: entries(entry(1, start, start))})
	if err != nil {
		t.Fatal(err)
	}
	for issuer, ok := range map[*x509.Certificate]bool{authority.Certificate(): true, foreign.Certificate(): false} {
		if err := guard(nil, der, issuer); (err == nil) != ok {
			t.Error(err)
		}
	}
}
