package ca

import (
	"math/big"
	"time"
)

const (
	// MaxURLs bounds the URLs of a CRL shard.
	MaxURLs = 8
	// lintedEntries bounds the entries that are linted at a time: a linter needs many times the memory of the CRL.
	lintedEntries = 10_000
)

// CRL is the list of the certificates that an authority has revoked, or a shard of it.
type CRL struct {
	// Number increases with each CRL of the same scope (RFC 5280 section 5.2.3).
	Number *big.Int
	// ThisUpdate is the time of issue. NextUpdate is the time by which the next CRL is published.
	ThisUpdate, NextUpdate time.Time
	// URLs of a shard, the current one first; none for a complete CRL, which has no issuing distribution point. A certificate of the
	// shard names the URL that was current when the certificate was issued (RFC 5280 section 6.3.3 (b)(2)(i)).
	URLs    []string
	Entries Entries
}

// SignCRL lints and signs a CRL. It returns DER. The same CRL yields the same bytes.
func (a *Authority) SignCRL(c CRL) ([]byte, error) { return a.SignNextCRL(c, nil) }

// SignNextCRL is SignCRL for a CRL that follows another one. It lints only the entries that last lacks: those in last were linted
// before last was signed.
func (a *Authority) SignNextCRL(c CRL, last Entries) ([]byte, error) {
	if err := a.lint(c, c.Entries.Without(last)); err != nil {
		return nil, err
	}
	body, err := a.encodeCRL(c)
	if err != nil {
		return nil, err
	}
	return a.signer.signChecked(body)
}

// lint lints a CRL with some of its entries, under a signature by a key that nobody trusts.
func (a *Authority) lint(c CRL, entries Entries) error {
	for first := true; first || len(entries) > 0; first = false {
		c.Entries = entries[:min(len(entries), lintedEntries)]
		entries = entries[len(c.Entries):]
		body, err := a.encodeCRL(c)
		if err != nil {
			return err
		}
		der, err := a.throwAway.sign(body)
		if err != nil {
			return err
		}
		if err := lintCRL(der); err != nil {
			return err
		}
	}
	return nil
}
