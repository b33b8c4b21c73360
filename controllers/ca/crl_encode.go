package ca

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/acmeca/acmeca/internal/pki"
)

var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidReasonCode               = asn1.ObjectIdentifier{2, 5, 29, 21}
)

// encodeCRL returns the to-be-signed bytes of a CRL, whose entries are sorted. crypto/x509 encodes all but the entries, for which
// it takes ten times as long as insertEntries.
func (a *Authority) encodeCRL(c CRL) (unsigned, error) {
	frame, err := c.frame()
	if err != nil {
		return unsigned{}, err
	}
	for _, entry := range c.Entries {
		if err := entry.check(); err != nil {
			return unsigned{}, err
		}
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
	body.tbs, err = insertEntries(body.tbs, c.Entries, frame.ThisUpdate)
	return body, err
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

// insertEntries inserts revokedCertificates into a TBSCertList without entries, before the extensions (RFC 5280 section 5.1).
func insertEntries(tbs []byte, entries []Entry, thisUpdate time.Time) ([]byte, error) {
	start, extensions, ok := splitTBS(tbs)
	if !ok {
		return nil, errors.New("the to-be-signed CRL cannot be read")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+maxEntry*len(entries)))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(start)
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, entry := range entries {
				addEntry(b, entry, thisUpdate)
			}
		})
		b.AddBytes(extensions)
	})
	return b.Bytes()
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

// maxEntry bounds the DER of an entry, in bytes: serial number 22, time 17, reason 14, the sequence around them 2.
const maxEntry = 55

func addEntry(b *cryptobyte.Builder, entry Entry, thisUpdate time.Time) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(entry.Serial)
		// A clock that was ahead at the revocation must not prevent the CRL.
		addTime(b, pki.WholeSecond(pki.Earlier(entry.RevokedAt, thisUpdate)))
		if entry.Reason == Unspecified { // RFC 5280 section 5.3.1: omitted
			return
		}
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidReasonCode)
				b.AddASN1(cryptobyteasn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(entry.Reason)) })
			})
		})
	})
}

// addTime writes a time as UTCTime up to 2049 and as GeneralizedTime from 2050 on (RFC 5280 section 5.1.2.4).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}
