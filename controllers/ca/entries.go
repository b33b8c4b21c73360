package ca

import (
	"cmp"
	"errors"
	"math/big"
	"slices"
	"time"
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

// Carry gives the entries of the next CRL: those of the last one, which was made at thisUpdate, and those added since. An
// entry leaves when the last CRL was made past its certificate's expiry, so that it appeared once after it (RFC 5280 section
// 3.3). A zero thisUpdate says that there is no last one.
func Carry(last []Entry, thisUpdate time.Time, added []Entry) []Entry {
	next := make([]Entry, 0, len(last)+len(added))
	for _, entry := range last {
		if entry.NotAfter.IsZero() || !thisUpdate.After(entry.NotAfter) {
			next = append(next, entry)
		}
	}
	return sortEntries(append(next, added...))
}

// sortEntries orders entries by serial number, so that a CRL doesn't depend on the order in which they came, and leaves the
// earliest of those with the same serial number: a certificate is revoked once.
func sortEntries(entries []Entry) []Entry {
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int {
		return cmp.Or(a.Serial.Cmp(b.Serial), a.RevokedAt.Compare(b.RevokedAt), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.CompactFunc(sorted, func(a, b Entry) bool { return a.Serial.Cmp(b.Serial) == 0 })
}
