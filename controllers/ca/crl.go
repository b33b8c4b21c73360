package ca

import (
	"fmt"
	"math/big"
	"time"
)

const (
	// MaxEntries bounds the entries of a CRL shard. An entry takes at most 55 bytes in the CRL and 4 beside it, so a full shard
	// takes 944 KiB and fits a ConfigMap.
	MaxEntries = 16384
	// MaxCRLSize bounds a CRL in bytes of DER.
	MaxCRLSize = 1 << 20
	// MaxURLs bounds the URLs of a CRL shard.
	MaxURLs = 8
)

// CRL is the list of the certificates that an authority has revoked, or a shard of it.
type CRL struct {
	// Number increases with each CRL of the same scope (RFC 5280 section 5.2.3).
	Number *big.Int
	// ThisUpdate is the time of issue. NextUpdate is the time by which the next CRL is published.
	ThisUpdate, NextUpdate time.Time
	// URLs of a shard, the current one first; none for a complete CRL, which has no issuing distribution point. A certificate of the shard names the URL that was current when the certificate
	// was issued (RFC 5280 section 6.3.3 (b)(2)(i)).
	URLs []string
	// Entries, each serial number once. ParseCRL returns them in ascending order.
	Entries []Entry
}

// SignCRL encodes a CRL, lints it under a signature by a key that nobody trusts, and signs it. It returns DER. The same CRL
// yields the same bytes, in any order of its entries.
func (a *Authority) SignCRL(c CRL) ([]byte, error) {
	body, err := a.encodeCRL(c)
	if err != nil {
		return nil, err
	}
	der, err := a.throwAway.sign(body)
	if err != nil {
		return nil, err
	}
	if len(der) > MaxCRLSize {
		return nil, fmt.Errorf("the CRL has %d bytes, at most %d are allowed", len(der), MaxCRLSize)
	}
	if err := lintCRL(der); err != nil {
		return nil, err
	}
	return a.signer.signChecked(body)
}
