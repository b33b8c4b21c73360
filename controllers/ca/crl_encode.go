package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/acmeca/acmeca/internal/pki"
)

var oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// encodeCRL returns the to-be-signed bytes of a CRL. crypto/x509 encodes all but the entries, for which
// it takes ten times as long as insertEntries.
func (a *Authority) encodeCRL(c CRL) (unsigned, error) {
	frame, err := c.frame()
	if err != nil {
		return unsigned{}, err
	}
	frame.SignatureAlgorithm = a.signer.algorithm
	body, err := captureTBS(a.throwAway.key.Public(), func(key crypto.Signer) ([]byte, error) {
		return x509.CreateRevocationList(nil, frame, a.lintIssuer, key)
	})
	if err != nil {
		return unsigned{}, fmt.Errorf("make CRL: %w", err)
	}
	if len(c.Entries) == 0 { // RFC 5280 section 5.1.2.6: without entries the list is absent
		return body, nil
	}
	body.room, err = insertEntries(body.tbs, c.Entries, frame.ThisUpdate)
	if err != nil {
		return unsigned{}, err
	}
	body.tbs = body.room[maxHeader:]
	return body, nil
}

// frame returns the CRL without its entries, or an error if a field is missing or out of bounds.
func (c CRL) frame() (*x509.RevocationList, error) {
	switch {
	case c.Number == nil || c.Number.Sign() <= 0:
		return nil, errors.New("a CRL's number must be positive")
	case len(c.URLs) > MaxURLs || slices.Contains(c.URLs, ""):
		return nil, fmt.Errorf("a CRL must have at most %d URLs", MaxURLs)
	case !c.NextUpdate.After(c.ThisUpdate):
		return nil, errors.New("a CRL's nextUpdate must be after its thisUpdate")
	}
	frame := &x509.RevocationList{Number: c.Number, ThisUpdate: pki.WholeSecond(c.ThisUpdate), NextUpdate: pki.WholeSecond(c.NextUpdate)}
	if len(c.URLs) == 0 {
		return frame, nil
	}
	idp, err := issuingDistributionPoint(c.URLs)
	if err != nil {
		return nil, err
	}
	frame.ExtraExtensions = []pkix.Extension{idp}
	return frame, nil
}

// issuingDistributionPoint returns the extension for the scope of a shard: end-entity certificates that name one of its URLs
// (RFC 5280 section 5.2.5).
func issuingDistributionPoint(urls []string) (pkix.Extension, error) {
	fullName := cryptobyteasn1.Tag(0).ContextSpecific().Constructed()
	uri := cryptobyteasn1.Tag(6).ContextSpecific()
	onlyContainsUserCerts := cryptobyteasn1.Tag(1).ContextSpecific()
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(fullName, func(b *cryptobyte.Builder) { // distributionPoint [0], a CHOICE and so explicit
			b.AddASN1(fullName, func(b *cryptobyte.Builder) {
				for _, url := range urls {
					b.AddASN1(uri, func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
				}
			})
		})
		b.AddASN1(onlyContainsUserCerts, func(b *cryptobyte.Builder) { b.AddUint8(0xff) })
	})
	der, err := b.Bytes()
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode the CRL's distribution point: %w", err)
	}
	return pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: der}, nil
}

// insertEntries inserts revokedCertificates into a TBSCertList without entries, before the extensions (RFC 5280 section 5.1). The
// TBSCertList begins after maxHeader bytes of the result, which has the capacity for a signature, so that a large CRL is not copied.
func insertEntries(tbs []byte, entries Entries, thisUpdate time.Time) ([]byte, error) {
	start, extensions, ok := splitTBS(tbs)
	if !ok {
		return nil, errors.New("the to-be-signed CRL cannot be read")
	}
	listed := 0
	for i := range entries {
		if entries[i].listedAt(thisUpdate) < earliest {
			return nil, errors.New("a CRL entry has no revocation time")
		}
		listed += headerSize + entries[i].size(thisUpdate)
	}
	sequence := appendHeader(nil, listed)
	size := len(start) + len(sequence) + listed + len(extensions)
	out := make([]byte, maxHeader, 2*maxHeader+size+maxSignature)
	out = appendHeader(out, size)
	out = append(append(out, start...), sequence...)
	for i := range entries {
		out = entries[i].append(out, thisUpdate)
	}
	return append(out, extensions...), nil
}

// splitTBS splits the content of a TBSCertList after nextUpdate: before the entries, or before the extensions if there are no
// entries.
func splitTBS(tbs []byte) (start, rest cryptobyte.String, ok bool) {
	var body cryptobyte.String
	input := cryptobyte.String(tbs)
	if !input.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !input.Empty() {
		return nil, nil, false
	}
	rest = body
	for range 5 { // version, signature, issuer, thisUpdate, nextUpdate
		var skipped cryptobyte.String
		var tag cryptobyteasn1.Tag
		if !rest.ReadAnyASN1Element(&skipped, &tag) {
			return nil, nil, false
		}
	}
	return body[:len(body)-len(rest)], rest, true
}

const (
	// maxHeader bounds tag and length of a SEQUENCE, and headerSize is their size if the content has less than 128 bytes.
	maxHeader, headerSize = 6, 2
	// maxSignature bounds the algorithm and the signature after a TBSCertList: RSA with 8192 bits.
	maxSignature = 1100
	// generalized is the first second that a CRL has as GeneralizedTime (RFC 5280 section 5.1.2.4): 2050 begins.
	generalized = 2524608000
	// earliest is the first second of UTCTime: 1950 begins.
	earliest = -631152000
)

// appendHeader appends tag and length of a SEQUENCE.
func appendHeader(out []byte, size int) []byte {
	out = append(out, byte(cryptobyteasn1.SEQUENCE))
	if size < 128 {
		return append(out, byte(size))
	}
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(size))
	short := bytes.TrimLeft(length[:], "\x00")
	return append(append(out, 0x80|byte(len(short))), short...)
}

// reasonExtension is the DER of the extensions of an entry with a reason, without the reason itself.
var reasonExtension = []byte{0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01}

// listedAt returns the revocation time in a CRL, in seconds since 1970. A clock that was ahead at the revocation must not prevent the CRL.
func (p *PackedEntry) listedAt(thisUpdate time.Time) int64 {
	return min(p.revokedAt(), thisUpdate.Unix())
}

// size returns the size of the entry's DER, without its header.
func (p *PackedEntry) size(thisUpdate time.Time) int {
	size := headerSize + len(p.integer()) + headerSize + len("060102150405Z")
	if p.listedAt(thisUpdate) >= generalized {
		size += len("20")
	}
	if p.Reason() != Unspecified {
		size += len(reasonExtension) + 1
	}
	return size
}

// integer returns the content of the serial number as an INTEGER.
func (p *PackedEntry) integer() []byte {
	first := 0
	for first < maxSerial-1 && p[first] == 0 {
		first++
	}
	if p[first]&0x80 != 0 { // would be negative; a serial number has at most 159 bits
		first--
	}
	return p[first:maxSerial]
}

// append appends the entry's DER.
func (p *PackedEntry) append(out []byte, thisUpdate time.Time) []byte {
	serial := p.integer()
	out = append(out, byte(cryptobyteasn1.SEQUENCE), byte(p.size(thisUpdate)))
	out = append(append(out, byte(cryptobyteasn1.INTEGER), byte(len(serial))), serial...)
	if seconds := p.listedAt(thisUpdate); seconds < generalized {
		out = append(out, byte(cryptobyteasn1.UTCTime), byte(len("060102150405Z")))
		out = time.Unix(seconds, 0).UTC().AppendFormat(out, "060102150405Z")
	} else {
		out = append(out, byte(cryptobyteasn1.GeneralizedTime), byte(len("20060102150405Z")))
		out = time.Unix(seconds, 0).UTC().AppendFormat(out, "20060102150405Z")
	}
	if p.Reason() != Unspecified { // RFC 5280 section 5.3.1: omitted
		out = append(append(out, reasonExtension...), byte(p.Reason()))
	}
	return out
}
