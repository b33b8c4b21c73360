package ca

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/acmeca/acmeca/internal/pki/validity"
)

// Entry is a revoked certificate.
type Entry struct {
	Serial    *big.Int
	RevokedAt time.Time
	Reason    Reason
	// NotAfter is the certificate's, after which it may leave the CRL; zero if it isn't known, and then the entry stays. A CRL
	// doesn't hold it.
	NotAfter time.Time
}

func (e Entry) check() error {
	if e.Serial == nil || e.Serial.Sign() <= 0 || e.Serial.BitLen() > 159 {
		return errors.New("a CRL entry's serial number is not a positive one of at most 20 bytes")
	}
	if e.RevokedAt.IsZero() {
		return errors.New("a CRL entry has no time of revocation")
	}
	if _, problem := ParseReason(int(e.Reason)); problem != nil {
		return problem
	}
	return nil
}

// carryGrace is how long an entry stays past its certificate's expiry at least. It covers a CRL that was made while the
// revocation was still on its way to the one who made it.
const carryGrace = time.Hour

// Carry gives the entries of the next CRL: those of the last one, which was made at thisUpdate, and those of certificates
// known to be revoked, which may be the same. An entry leaves only when the last CRL was made past its certificate's
// expiry, so that it appeared once after it (RFC 5280 section 3.3). A zero thisUpdate says that there is no last one.
//
// It follows that the revocation of a certificate that expired long ago is never listed: it says nothing to anyone. So
// whether a new CRL is due for its entries is for what Carry gives to say, and not for what it was given.
func Carry(last []Entry, thisUpdate time.Time, revoked []Entry) []Entry {
	entries := sortEntries(slices.Concat(last, revoked))
	return slices.DeleteFunc(entries, func(e Entry) bool {
		return !e.NotAfter.IsZero() && thisUpdate.After(e.NotAfter.Add(carryGrace))
	})
}

// sortEntries orders entries by serial number, so that a CRL doesn't depend on the order in which they came. Of those with
// the same serial number it leaves the earliest, since a certificate is revoked once, and what is known of its expiry.
func sortEntries(entries []Entry) []Entry {
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int {
		return cmp.Or(a.Serial.Cmp(b.Serial), a.RevokedAt.Compare(b.RevokedAt), cmp.Compare(a.Reason, b.Reason))
	})
	merged := sorted[:0]
	for _, entry := range sorted {
		last := len(merged) - 1
		if last < 0 || merged[last].Serial.Cmp(entry.Serial) != 0 {
			merged = append(merged, entry)
		} else {
			merged[last].NotAfter = validity.Later(merged[last].NotAfter, entry.NotAfter)
		}
	}
	return merged
}

// expirySize is what an entry takes in MarshalExpiries' output: seconds since 1970, which is enough until 2106.
const expirySize = 4

// MarshalExpiries encodes when the certificates of a CRL's entries expire, which the CRL doesn't hold, to be kept beside it:
// four bytes an entry, in the order of the CRL.
func MarshalExpiries(entries []Entry) []byte {
	out := make([]byte, 0, expirySize*len(entries))
	for _, entry := range sortEntries(entries) {
		seconds := int64(0)
		if !entry.NotAfter.IsZero() {
			seconds = min(max(entry.NotAfter.Unix(), 0), math.MaxUint32)
		}
		out = binary.BigEndian.AppendUint32(out, uint32(seconds))
	}
	return out
}

// SetExpiries gives the entries of a CRL that was read what MarshalExpiries wrote beside it. An error changes nothing, and
// then the entries stay on the list, which is safe.
func (c *CRL) SetExpiries(data []byte) error {
	if len(data) != expirySize*len(c.Entries) {
		return fmt.Errorf("expiries of %d bytes do not belong to a CRL with %d entries", len(data), len(c.Entries))
	}
	for i := range c.Entries {
		if seconds := binary.BigEndian.Uint32(data[expirySize*i:]); seconds != 0 {
			c.Entries[i].NotAfter = time.Unix(int64(seconds), 0).UTC()
		}
	}
	return nil
}
