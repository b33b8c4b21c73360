package ca

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// MaxEntries bounds a CRL shard. An entry takes at most 53 bytes, so a full shard has 850 KiB and fits a ConfigMap.
	MaxEntries = 16384
	// MaxCRLSize bounds a CRL in bytes of DER.
	MaxCRLSize = 1 << 20
)

// CRL is one shard of the list of certificates that an authority has revoked.
type CRL struct {
	// Number rises with each CRL of a shard (RFC 5280 section 5.2.3).
	Number *big.Int
	// ThisUpdate and NextUpdate are when it was made and when the next one is there at the latest.
	ThisUpdate, NextUpdate time.Time
	// URL of the shard, the same as in the certificates that it covers.
	URL string
	// Entries, each serial number once, in rising order when read.
	Entries []Entry
}

var oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// SignCRL encodes a CRL, lints it signed by a key that nobody trusts, and signs it. The same CRL gives the same bytes.
func (a *Authority) SignCRL(c CRL) ([]byte, error) {
	template, err := c.template()
	if err != nil {
		return nil, err
	}
	template.SignatureAlgorithm = a.signer.algorithm
	der, err := x509.CreateRevocationList(nil, template, a.lintIssuer, a.throwAway.key)
	if err != nil {
		return nil, fmt.Errorf("make CRL: %w", err)
	}
	if err := lintCRL(der); err != nil {
		return nil, err
	}
	what, err := splitSigned(der)
	if err != nil {
		return nil, err
	}
	if der, err = a.signer.sign(what); err != nil {
		return nil, err
	}
	if len(der) > MaxCRLSize {
		return nil, fmt.Errorf("the CRL has %d bytes, and may have at most %d", len(der), MaxCRLSize)
	}
	// As in Sign; and what comes back must be what went in, since the CRL is the durable record of revocations.
	back, err := ParseCRL(der, a.chain[0])
	if err != nil {
		return nil, fmt.Errorf("check the new CRL: %w", err)
	}
	if len(back.Entries) != len(template.RevokedCertificateEntries) {
		return nil, fmt.Errorf("the new CRL has %d entries instead of %d", len(back.Entries), len(template.RevokedCertificateEntries))
	}
	return der, nil
}

func (c CRL) template() (*x509.RevocationList, error) {
	switch {
	case c.Number == nil || c.Number.Sign() <= 0:
		return nil, errors.New("a CRL's number must be above 0")
	case c.URL == "":
		return nil, errors.New("a CRL needs the URL of its shard")
	case !c.NextUpdate.After(c.ThisUpdate):
		return nil, errors.New("a CRL's nextUpdate must be after its thisUpdate")
	case len(c.Entries) > MaxEntries:
		return nil, fmt.Errorf("a CRL shard with %d entries is over the bound of %d; use more shards", len(c.Entries), MaxEntries)
	}
	idp, err := issuingDistributionPoint(c.URL)
	if err != nil {
		return nil, err
	}
	template := &x509.RevocationList{
		Number:          c.Number,
		ThisUpdate:      wholeSecond(c.ThisUpdate),
		NextUpdate:      wholeSecond(c.NextUpdate),
		ExtraExtensions: []pkix.Extension{idp},
	}
	for _, entry := range c.Entries {
		if err := entry.check(); err != nil {
			return nil, err
		}
	}
	for _, entry := range sortEntries(c.Entries) {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: entry.Serial,
			// A clock that was ahead when the certificate was revoked must not keep the CRL from being made.
			RevocationTime: wholeSecond(earlier(entry.RevokedAt, c.ThisUpdate)),
			ReasonCode:     int(entry.Reason),
		})
	}
	return template, nil
}

// issuingDistributionPoint says what a shard covers: the end-entity certificates that name its URL (RFC 5280 section 5.2.5).
func issuingDistributionPoint(url string) (pkix.Extension, error) {
	fullName := cryptobyteasn1.Tag(0).ContextSpecific().Constructed()
	uri := cryptobyteasn1.Tag(6).ContextSpecific()
	onlyContainsUserCerts := cryptobyteasn1.Tag(1).ContextSpecific()
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(fullName, func(b *cryptobyte.Builder) { // distributionPoint [0], a CHOICE and so explicit
			b.AddASN1(fullName, func(b *cryptobyte.Builder) {
				b.AddASN1(uri, func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
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

// ParseCRL reads a CRL that this package made, and checks that issuer signed it. It is bounded in size and never panics.
func ParseCRL(der []byte, issuer *x509.Certificate) (*CRL, error) {
	crl, list, err := parseCRL(der)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || !bytes.Equal(list.AuthorityKeyId, issuer.SubjectKeyId) {
		return nil, errors.New("the CRL is of another issuer")
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("the CRL's signature: %w", err)
	}
	return crl, nil
}

func parseCRL(der []byte) (*CRL, *x509.RevocationList, error) {
	if len(der) > MaxCRLSize {
		return nil, nil, fmt.Errorf("the CRL is larger than %d bytes", MaxCRLSize)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, nil, fmt.Errorf("the CRL cannot be read: %w", err)
	}
	if len(list.Raw) != len(der) {
		return nil, nil, errors.New("the CRL cannot be read: there is something after it")
	}
	if len(list.RevokedCertificateEntries) > MaxEntries {
		return nil, nil, fmt.Errorf("the CRL has more than %d entries", MaxEntries)
	}
	if list.Number == nil {
		return nil, nil, errors.New("the CRL has no number")
	}
	crl := &CRL{Number: list.Number, ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
	for _, extension := range list.Extensions {
		switch {
		case extension.Id.Equal(oidIssuingDistributionPoint):
			if crl.URL, err = distributionPointURL(extension.Value); err != nil {
				return nil, nil, err
			}
		case extension.Critical:
			return nil, nil, fmt.Errorf("the CRL has the critical extension %s, which is not understood here", extension.Id)
		}
	}
	if crl.URL == "" {
		return nil, nil, errors.New("the CRL has no issuing distribution point")
	}
	crl.Entries = make([]Entry, 0, len(list.RevokedCertificateEntries))
	for i, entry := range list.RevokedCertificateEntries {
		e := Entry{Serial: entry.SerialNumber, RevokedAt: entry.RevocationTime, Reason: Reason(entry.ReasonCode)}
		if err := e.check(); err != nil {
			return nil, nil, err
		}
		if i > 0 && e.Serial.Cmp(crl.Entries[i-1].Serial) <= 0 {
			return nil, nil, errors.New("the CRL's entries are not in the order of this CA's")
		}
		crl.Entries = append(crl.Entries, e)
	}
	return crl, list, nil
}

// distributionPointURL reads back what issuingDistributionPoint wrote, and takes nothing else.
func distributionPointURL(der []byte) (string, error) {
	var idp struct {
		DistributionPoint struct {
			FullName []asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"optional,tag:0"`
		OnlyContainsUserCerts bool `asn1:"optional,tag:1"`
	}
	rest, err := asn1.Unmarshal(der, &idp)
	names := idp.DistributionPoint.FullName
	if err != nil || len(rest) > 0 || len(names) != 1 || names[0].Class != asn1.ClassContextSpecific || names[0].Tag != 6 ||
		!idp.OnlyContainsUserCerts {
		return "", errors.New("the CRL's issuing distribution point is not one of this CA's")
	}
	return string(names[0].Bytes), nil
}
