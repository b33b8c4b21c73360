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

	"github.com/acmeca/acmeca/internal/pki"
)

// Entry is a revoked certificate.
type Entry struct {
	Serial    *big.Int
	RevokedAt time.Time
	Reason    Reason
	// NotAfter of the certificate, after which the entry may leave the CRL. Zero means unknown: the entry stays. A CRL does not
	// contain NotAfter.
	NotAfter time.Time
}

func (e Entry) check() error {
	if e.Serial == nil || e.Serial.Sign() <= 0 || e.Serial.BitLen() > 159 {
		return errors.New("a CRL entry's serial number must be positive and have at most 20 bytes")
	}
	if e.RevokedAt.IsZero() {
		return errors.New("a CRL entry has no revocation time")
	}
	if _, problem := ParseReason(int(e.Reason)); problem != nil {
		return problem
	}
	return nil
}

// carryGrace is the least time for which an entry stays after its certificate's expiry. It covers a CRL that was signed from a
// cache without the revocation.
const carryGrace = time.Hour

// Carry returns the entries of the next CRL: those of the last CRL, which was issued at thisUpdate, and those in revoked. The two
// lists may overlap. An entry is dropped only if the last CRL was issued after the certificate's expiry, so that each entry
// is listed once after the expiry (RFC 5280 section 3.3). A zero thisUpdate means that there is no last CRL.
//
// The revocation of a certificate that expired long ago is therefore never listed. So a caller must compare the result, not
// the arguments, with the last CRL to decide whether a new one is due.
func Carry(last []Entry, thisUpdate time.Time, revoked []Entry) []Entry {
	entries := sortEntries(slices.Concat(last, revoked))
	return slices.DeleteFunc(entries, func(e Entry) bool {
		return !e.NotAfter.IsZero() && thisUpdate.After(e.NotAfter.Add(carryGrace))
	})
}

// sortEntries returns entries by serial number, so that a CRL does not depend on their order. Of entries with the same serial
// number it keeps the earliest, with the latest NotAfter: a certificate is revoked once.
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
			merged[last].NotAfter = pki.Later(merged[last].NotAfter, entry.NotAfter)
		}
	}
	return merged
}

// expirySize is the size of an entry in the output of MarshalExpiries, in bytes: seconds since 1970, enough until 2106.
const expirySize = 4

// MarshalExpiries encodes the NotAfter of a CRL's entries, which the CRL does not contain, for storage beside it: four bytes an
// entry, in the order of the CRL.
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

// SetExpiries sets the NotAfter of a parsed CRL's entries from the output of MarshalExpiries. On an error it changes nothing.
// Entries without NotAfter stay on the CRL, which is safe.
func (c *CRL) SetExpiries(data []byte) error {
	if len(data) != expirySize*len(c.Entries) {
		return fmt.Errorf("expiries have %d bytes, which does not fit a CRL with %d entries", len(data), len(c.Entries))
	}
	for i := range c.Entries {
		if seconds := binary.BigEndian.Uint32(data[expirySize*i:]); seconds != 0 {
			c.Entries[i].NotAfter = time.Unix(int64(seconds), 0).UTC()
		}
	}
	return nil
}
