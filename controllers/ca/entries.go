package ca

import (
	"bytes"
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
	if e.Serial == nil || e.Serial.Sign() <= 0 || e.Serial.BitLen() > 8*maxSerial-1 {
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

// maxSerial is the length of the longest serial number, in bytes (RFC 5280 section 4.1.2.2).
const maxSerial = 20

// PackedEntry is an entry without pointers, in 33 bytes: the serial number in 20 bytes, the revocation time in 8, the reason in one, and
// NotAfter in 4. All numbers are big-endian. Times have whole seconds since 1970. NotAfter is as in MarshalExpiries.
type PackedEntry [maxSerial + 8 + 1 + expirySize]byte

// pack returns the packed form of an entry, or an error if no CRL can list it.
func pack(e Entry) (p PackedEntry, err error) {
	if err := e.check(); err != nil {
		return p, err
	}
	e.Serial.FillBytes(p[:maxSerial])
	p.set(pki.WholeSecond(e.RevokedAt).Unix(), e.Reason)
	binary.BigEndian.PutUint32(p[maxSerial+9:], expiryOf(e.NotAfter))
	return p, nil
}

func (p *PackedEntry) set(revokedAt int64, reason Reason) {
	binary.BigEndian.PutUint64(p[maxSerial:], uint64(revokedAt))
	p[maxSerial+8] = byte(reason)
}

// serial returns the serial number, padded with zeros.
func (p *PackedEntry) serial() []byte { return p[:maxSerial] }

func (p *PackedEntry) revokedAt() int64 { return int64(binary.BigEndian.Uint64(p[maxSerial:])) }

// expiry returns the seconds of NotAfter since 1970; 0 if NotAfter is not known.
func (p *PackedEntry) expiry() uint32 { return binary.BigEndian.Uint32(p[maxSerial+9:]) }

// Serial returns the serial number.
func (p *PackedEntry) Serial() *big.Int { return new(big.Int).SetBytes(p.serial()) }

// RevokedAt returns the time of the revocation.
func (p *PackedEntry) RevokedAt() time.Time { return time.Unix(p.revokedAt(), 0).UTC() }

// Reason returns the reason of the revocation.
func (p *PackedEntry) Reason() Reason { return Reason(p[maxSerial+8]) }

// NotAfter returns the end of the certificate's validity; zero if it is not known.
func (p *PackedEntry) NotAfter() time.Time {
	if p.expiry() == 0 {
		return time.Time{}
	}
	return time.Unix(int64(p.expiry()), 0).UTC()
}

// Compare compares the serial numbers of two entries.
func (p *PackedEntry) Compare(other *PackedEntry) int {
	return bytes.Compare(p.serial(), other.serial())
}

// MayLeave reports whether an entry may leave a CRL after the one of thisUpdate.
func (p *PackedEntry) MayLeave(thisUpdate time.Time) bool { return MayLeave(p.NotAfter(), thisUpdate) }

// MayLeave is PackedEntry.MayLeave for the entry of a certificate that ends at notAfter.
func MayLeave(notAfter, thisUpdate time.Time) bool {
	return !notAfter.IsZero() && thisUpdate.After(notAfter.Add(carryGrace))
}

// carryGrace is the least time for which an entry stays after its certificate's expiry. It covers a CRL that was signed from a
// cache without the revocation.
const carryGrace = time.Hour

// Entries are the entries of a CRL by ascending serial number, each serial number once. A million take 33 MB.
type Entries []PackedEntry

// NewEntries returns the entries of a CRL. Of entries with the same serial number it keeps the earliest, with the latest NotAfter:
// a certificate is revoked once.
func NewEntries(list ...Entry) (Entries, error) {
	entries := make(Entries, 0, len(list))
	for _, entry := range list {
		packed, err := pack(entry)
		if err != nil {
			return nil, err
		}
		entries = append(entries, packed)
	}
	slices.SortFunc(entries, func(a, b PackedEntry) int { return a.Compare(&b) })
	merged := entries[:0]
	for _, entry := range entries {
		if last := len(merged) - 1; last >= 0 && merged[last].Compare(&entry) == 0 {
			merged[last] = earlier(merged[last], entry)
		} else {
			merged = append(merged, entry)
		}
	}
	return merged, nil
}

// Find returns the entry of a serial number; nil if there is none.
func (l Entries) Find(serial *big.Int) *PackedEntry {
	if serial.Sign() <= 0 || serial.BitLen() > 8*maxSerial {
		return nil
	}
	var sought PackedEntry
	serial.FillBytes(sought[:maxSerial])
	i, found := slices.BinarySearchFunc(l, sought, func(a, b PackedEntry) int { return a.Compare(&b) })
	if !found {
		return nil
	}
	return &l[i]
}

// Merge returns a new list with the entries of both.
func (l Entries) Merge(other Entries) Entries {
	merged := make(Entries, 0, len(l)+len(other))
	for len(l) > 0 && len(other) > 0 {
		switch order := l[0].Compare(&other[0]); {
		case order < 0:
			merged, l = append(merged, l[0]), l[1:]
		case order > 0:
			merged, other = append(merged, other[0]), other[1:]
		default:
			merged, l, other = append(merged, earlier(l[0], other[0])), l[1:], other[1:]
		}
	}
	return append(append(merged, l...), other...)
}

// Without returns the entries whose serial numbers other lacks.
func (l Entries) Without(other Entries) Entries {
	if len(other) == 0 {
		return l
	}
	var rest Entries
	for i := range l {
		for len(other) > 0 && other[0].Compare(&l[i]) < 0 {
			other = other[1:]
		}
		if len(other) == 0 || other[0].Compare(&l[i]) != 0 {
			rest = append(rest, l[i])
		}
	}
	return rest
}

// earlier returns the earlier of two revocations of a certificate, with the later NotAfter.
func earlier(a, b PackedEntry) PackedEntry {
	end := max(a.expiry(), b.expiry())
	if cmp.Or(cmp.Compare(a.revokedAt(), b.revokedAt()), cmp.Compare(a.Reason(), b.Reason())) > 0 {
		a = b
	}
	binary.BigEndian.PutUint32(a[maxSerial+9:], end)
	return a
}

// Carry returns the entries of the next CRL: those of the last CRL, which was issued at thisUpdate, and those in revoked. The two
// lists may overlap. An entry is dropped only if the last CRL was issued after the certificate's expiry, so that each entry
// is listed once after the expiry (RFC 5280 section 3.3). A zero thisUpdate means that there is no last CRL.
//
// The revocation of a certificate that expired long ago is therefore never listed. So a caller must compare the result, not
// the arguments, with the last CRL to decide whether a new one is due.
func Carry(last Entries, thisUpdate time.Time, revoked Entries) Entries {
	return slices.DeleteFunc(last.Merge(revoked), func(e PackedEntry) bool { return e.MayLeave(thisUpdate) })
}

// expirySize is the size of an entry in the output of MarshalExpiries, in bytes: seconds since 1970, enough until 2106.
const expirySize = 4

// expiryOf returns NotAfter in seconds since 1970; 0 if it is not known.
func expiryOf(notAfter time.Time) uint32 {
	if notAfter.IsZero() {
		return 0
	}
	return uint32(min(max(notAfter.Unix(), 0), math.MaxUint32))
}

// MarshalExpiries encodes the NotAfter of a CRL's entries, which the CRL does not contain, for storage beside it: four bytes an
// entry, in the order of the CRL.
func MarshalExpiries(entries Entries) []byte {
	out := make([]byte, 0, expirySize*len(entries))
	for i := range entries {
		out = append(out, entries[i][maxSerial+9:]...)
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
		if expiry := data[expirySize*i : expirySize*(i+1)]; binary.BigEndian.Uint32(expiry) != 0 {
			copy(c.Entries[i][maxSerial+9:], expiry)
		}
	}
	return nil
}
