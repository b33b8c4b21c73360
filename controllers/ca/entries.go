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
	if e.Reason == CACompromise {
		return nil
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
	last = sortEntries(last)
	// Most of revoked is in last, so a search for each costs less than to sort them all.
	fresh := slices.DeleteFunc(slices.Clone(revoked), func(e Entry) bool {
		i, found := slices.BinarySearchFunc(last, e, bySerial)
		return found && !last[i].NotAfter.IsZero() && !e.NotAfter.After(last[i].NotAfter) && !e.RevokedAt.Before(last[i].RevokedAt)
	})
	entries := mergeEntries(last, sortEntries(fresh))
	return slices.DeleteFunc(entries, func(e Entry) bool { return MayLeave(e, thisUpdate) })
}

// MayLeave reports whether an entry may leave a CRL after the one of thisUpdate.
func MayLeave(e Entry, thisUpdate time.Time) bool {
	return !e.NotAfter.IsZero() && thisUpdate.After(e.NotAfter.Add(carryGrace))
}

func bySerial(a, b Entry) int { return a.Serial.Cmp(b.Serial) }

// sortEntries returns entries by serial number, so that a CRL does not depend on their order. Of entries with the same serial
// number it keeps the earliest, with the latest NotAfter: a certificate is revoked once. It returns sorted entries themselves.
func sortEntries(entries []Entry) []Entry {
	sorted := true
	for i := 1; i < len(entries) && sorted; i++ {
		sorted = bySerial(entries[i-1], entries[i]) < 0
	}
	if sorted {
		return entries
	}
	all := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int {
		return cmp.Or(bySerial(a, b), a.RevokedAt.Compare(b.RevokedAt), cmp.Compare(a.Reason, b.Reason))
	})
	merged := all[:0]
	for _, entry := range all {
		if last := len(merged) - 1; last >= 0 && bySerial(merged[last], entry) == 0 {
			merged[last] = earlier(merged[last], entry)
		} else {
			merged = append(merged, entry)
		}
	}
	return merged
}

// mergeEntries merges two sorted lists into a new one.
func mergeEntries(a, b []Entry) []Entry {
	merged := make([]Entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := bySerial(a[0], b[0]); {
		case order < 0:
			merged, a = append(merged, a[0]), a[1:]
		case order > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged, a, b = append(merged, earlier(a[0], b[0])), a[1:], b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// without returns the entries of a sorted list that another one lacks.
func without(entries, known []Entry) []Entry {
	var rest []Entry
	for _, entry := range entries {
		if _, found := slices.BinarySearchFunc(known, entry, bySerial); !found {
			rest = append(rest, entry)
		}
	}
	return rest
}

// earlier returns the earlier of two revocations of a certificate, with the later NotAfter.
func earlier(a, b Entry) Entry {
	end := pki.Later(a.NotAfter, b.NotAfter)
	if cmp.Or(a.RevokedAt.Compare(b.RevokedAt), cmp.Compare(a.Reason, b.Reason)) > 0 {
		a = b
	}
	a.NotAfter = end
	return a
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
