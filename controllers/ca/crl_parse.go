package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseCRL reads a CRL of this package, and verifies that issuer signed it. It never panics.
func ParseCRL(der []byte, issuer *x509.Certificate) (*CRL, error) {
	encoded, err := OpenCRL(der, issuer)
	if err != nil {
		return nil, err
	}
	return encoded.parse()
}

// EncodedCRL is a CRL that was read without its entries, which can take much memory.
type EncodedCRL struct {
	// CRL has no entries.
	CRL
	entries cryptobyte.String
}

// OpenCRL reads a CRL without its entries, and verifies that issuer signed it.
func OpenCRL(der []byte, issuer *x509.Certificate) (*EncodedCRL, error) {
	crl, list, err := openCRL(der)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || !bytes.Equal(list.AuthorityKeyId, issuer.SubjectKeyId) {
		return nil, errors.New("the CRL has another issuer")
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("the CRL's signature: %w", err)
	}
	return crl, nil
}

// openCRL returns the CRL, and its frame: the CRL without entries, with the signature and the signed bytes of the whole.
func openCRL(der []byte) (*EncodedCRL, *x509.RevocationList, error) {
	without, tbs, entries, err := removeEntries(der)
	if err != nil {
		return nil, nil, err
	}
	list, err := x509.ParseRevocationList(without)
	if err != nil {
		return nil, nil, fmt.Errorf("the CRL cannot be read: %w", err)
	}
	list.RawTBSRevocationList = tbs
	if list.Number == nil {
		return nil, nil, errors.New("the CRL has no number")
	}
	crl := &EncodedCRL{CRL{Number: list.Number, ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}, entries}
	for _, extension := range list.Extensions {
		switch {
		case extension.Id.Equal(oidIssuingDistributionPoint):
			if crl.URLs, err = distributionPointURLs(extension.Value); err != nil {
				return nil, nil, err
			}
		case extension.Critical:
			return nil, nil, fmt.Errorf("the CRL has the unsupported critical extension %s", extension.Id)
		}
	}
	return crl, list, nil
}

// removeEntries returns a CRL without its entries, its to-be-signed bytes, and the content of its list of entries.
func removeEntries(der []byte) (without, tbs []byte, entries cryptobyte.String, err error) {
	unreadable := errors.New("the CRL cannot be read")
	var list, signed, signature cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&list, cryptobyteasn1.SEQUENCE) {
		return nil, nil, nil, unreadable
	}
	if !input.Empty() {
		return nil, nil, nil, errors.New("the CRL cannot be read: it has trailing data")
	}
	if !list.ReadASN1Element(&signed, cryptobyteasn1.SEQUENCE) {
		return nil, nil, nil, unreadable
	}
	signature = list
	start, rest, ok := splitTBS(signed)
	if !ok {
		return nil, nil, nil, unreadable
	}
	if rest.PeekASN1Tag(cryptobyteasn1.SEQUENCE) {
		if !rest.ReadASN1(&entries, cryptobyteasn1.SEQUENCE) || entries.Empty() {
			return nil, nil, nil, unreadable
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(start)
			b.AddBytes(rest)
		})
		b.AddBytes(signature)
	})
	without, err = b.Bytes()
	return without, signed, entries, err
}

func (e *EncodedCRL) parse() (*CRL, error) {
	crl := e.CRL
	crl.Entries = make(Entries, 0, e.count())
	err := e.Each(func(entry *PackedEntry) error {
		crl.Entries = append(crl.Entries, *entry)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &crl, nil
}

// count returns the number of entries, as far as they can be read.
func (e *EncodedCRL) count() int {
	n := 0
	for rest := e.entries; rest.SkipASN1(cryptobyteasn1.SEQUENCE); {
		n++
	}
	return n
}

// Each calls visit with each entry, by ascending serial number, until visit returns an error. It returns an error for an entry that
// is not in the form of this package. The entry is valid until visit returns.
func (e *EncodedCRL) Each(visit func(*PackedEntry) error) error {
	var before, entry PackedEntry
	for rest := e.entries; !rest.Empty(); {
		if err := readEntry(&rest, &entry); err != nil {
			return err
		}
		if entry.Compare(&before) <= 0 {
			return errors.New("the CRL's entries are not in the order of this CA's")
		}
		before = entry
		if err := visit(&entry); err != nil {
			return err
		}
	}
	return nil
}

// readEntry reads the form that PackedEntry.append writes.
func readEntry(rest *cryptobyte.String, entry *PackedEntry) error {
	var body, serial cryptobyte.String
	var revokedAt time.Time
	if !rest.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !body.ReadASN1(&serial, cryptobyteasn1.INTEGER) || !readTime(&body, &revokedAt) {
		return errors.New("the CRL has an entry that cannot be read")
	}
	if len(serial) == 0 || len(serial) > maxSerial || serial[0]&0x80 != 0 || serial[0] == 0 && (len(serial) == 1 || serial[1]&0x80 == 0) {
		return errors.New("a CRL entry's serial number must be positive and have at most 20 bytes")
	}
	*entry = PackedEntry{}
	copy(entry[maxSerial-len(serial):], serial)
	reason := int(Unspecified)
	if !body.Empty() {
		var ok bool
		if reason, ok = readReason(body); !ok {
			return errors.New("the CRL has an entry with other extensions than a reason")
		}
	}
	if _, problem := ParseReason(reason); problem != nil && reason != int(CACompromise) {
		return problem
	}
	entry.set(revokedAt.Unix(), Reason(reason))
	return nil
}

// readReason reads the extensions of an entry, which must be a reason alone.
func readReason(body cryptobyte.String) (reason int, ok bool) {
	if value, found := bytes.CutPrefix(body, reasonExtension); found && len(value) == 1 && value[0] < 0x80 {
		return int(value[0]), true
	}
	return 0, false
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(cryptobyteasn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

// distributionPointURLs returns the URLs in an extension of issuingDistributionPoint, and rejects every other form.
func distributionPointURLs(der []byte) ([]string, error) {
	var idp struct {
		DistributionPoint struct {
			FullName []asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"optional,tag:0"`
		OnlyContainsUserCerts bool `asn1:"optional,tag:1"`
	}
	foreign := errors.New("the CRL's issuing distribution point is not one of this CA's")
	rest, err := asn1.Unmarshal(der, &idp)
	names := idp.DistributionPoint.FullName
	if err != nil || len(rest) > 0 || len(names) == 0 || len(names) > MaxURLs || !idp.OnlyContainsUserCerts {
		return nil, foreign
	}
	var urls []string
	for _, name := range names {
		if name.Class != asn1.ClassContextSpecific || name.Tag != 6 || len(name.Bytes) == 0 {
			return nil, foreign
		}
		urls = append(urls, string(name.Bytes))
	}
	return urls, nil
}
