package ca

import (
	"fmt"
	"math/big"
	"time"
)

const (
	// MaxEntries bounds a CRL shard. An entry takes at most 55 bytes, and 4 beside the CRL, so that a full shard has 944 KiB and
	// fits a ConfigMap.
	MaxEntries = 16384
	// MaxCRLSize bounds a CRL in bytes of DER.
	MaxCRLSize = 1 << 20
	// MaxURLs bounds the URLs of a CRL shard.
	MaxURLs = 8
)

// CRL is one shard of the list of certificates that an authority has revoked.
type CRL struct {
	// Number rises with each CRL of a shard (RFC 5280 section 5.2.3).
	Number *big.Int
	// ThisUpdate and NextUpdate are when it was made and when the next one is there at the latest.
	ThisUpdate, NextUpdate time.Time
	// URLs of the shard, the present one first: a certificate that it covers names one of them, whichever it was when the
	// certificate was issued (RFC 5280 section 6.3.3 (b)(2)(i)).
	URLs []string
	// Entries, each serial number once, in rising order when read.
	Entries []Entry
}

// SignCRL encodes a CRL, lints it signed by a key that nobody trusts, and signs it. The same CRL gives the same bytes, in
// whatever order its entries come.
func (a *Authority) SignCRL(c CRL) ([]byte, error) {
	what, err := a.encodeCRL(c)
	if err != nil {
		return nil, err
	}
	der, err := a.throwAway.sign(what)
	if err != nil {
		return nil, err
	}
	if len(der) > MaxCRLSize {
		return nil, fmt.Errorf("the CRL has %d bytes, and may have at most %d", len(der), MaxCRLSize)
	}
	if err := lintCRL(der); err != nil {
		return nil, err
	}
	return a.signer.signChecked(what)
}
