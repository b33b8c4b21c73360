package ca

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// ForeignCRL is a verified CRL of a CA whose key is elsewhere.
type ForeignCRL struct {
	// Issuer is the CA that signed the CRL.
	Issuer *x509.Certificate
	// DER of the CRL.
	DER []byte
	// Number is nil if the CRL has none.
	Number                 *big.Int
	ThisUpdate, NextUpdate time.Time
	// Revoked are the serial numbers of the entries.
	Revoked []*big.Int
}

// Lists reports whether the CRL revokes a certificate of its issuer.
func (c *ForeignCRL) Lists(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.RawIssuer, c.Issuer.RawSubject) &&
		slices.ContainsFunc(c.Revoked, func(serial *big.Int) bool { return serial.Cmp(certificate.SerialNumber) == 0 })
}

// Compare returns a negative number if c was issued before other, zero if neither was first, and a positive number otherwise. CRL
// numbers decide if both CRLs have one.
func (c *ForeignCRL) Compare(other *ForeignCRL) int {
	if c.Number != nil && other.Number != nil {
		return c.Number.Cmp(other.Number)
	}
	return c.ThisUpdate.Compare(other.ThisUpdate)
}

// maxForeignCRLs bounds the CRLs in one text.
const maxForeignCRLs = 16

// ReadCRLs reads one CRL in DER, or up to 16 in PEM, and verifies each against the CAs. A CRL must be complete. The error is a
// sentence for the CRLs' owner. It never panics.
func ReadCRLs(data []byte, authorities []*x509.Certificate) ([]*ForeignCRL, error) {
	ders := [][]byte{data}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		ders = nil
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "X509 CRL" {
				return nil, fmt.Errorf("the PEM has a block of type %q instead of X509 CRL", block.Type)
			}
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) == 0 || len(ders) > maxForeignCRLs {
		return nil, fmt.Errorf("there are %d CRLs in the PEM, and 1 to %d are allowed", len(ders), maxForeignCRLs)
	}
	var crls []*ForeignCRL
	for i, der := range ders {
		crl, err := readCRL(der, authorities)
		if err != nil {
			return nil, fmt.Errorf("CRL %d %w", i+1, err)
		}
		crls = append(crls, crl)
	}
	return crls, nil
}

// readCRL reads one CRL. Its errors are predicates.
func readCRL(der []byte, authorities []*x509.Certificate) (*ForeignCRL, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if len(list.Raw) != len(der) {
		return nil, errors.New("cannot be read: it has trailing data")
	}
	for _, extension := range list.Extensions {
		if extension.Critical {
			return nil, fmt.Errorf("has the critical extension %s, and only complete CRLs are published", extension.Id)
		}
	}
	if list.NextUpdate.IsZero() {
		return nil, errors.New("has no nextUpdate")
	}
	fault := fmt.Errorf("is of %q, which is no CA above the issuing one", list.Issuer.String())
	for _, authority := range authorities {
		if !bytes.Equal(list.RawIssuer, authority.RawSubject) {
			continue
		}
		if fault = list.CheckSignatureFrom(authority); fault != nil {
			fault = fmt.Errorf("of %s does not verify: %w", name(authority), fault)
			continue
		}
		crl := &ForeignCRL{Issuer: authority, DER: der, Number: list.Number, ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
		for _, entry := range list.RevokedCertificateEntries {
			crl.Revoked = append(crl.Revoked, entry.SerialNumber)
		}
		return crl, nil
	}
	return nil, fault
}

// NewestCRLs returns the newest CRL of each CA, sorted by the CA's subject.
func NewestCRLs(crls []*ForeignCRL) []*ForeignCRL {
	sorted := slices.SortedStableFunc(slices.Values(crls), func(a, b *ForeignCRL) int {
		return cmp.Or(bytes.Compare(a.Issuer.RawSubject, b.Issuer.RawSubject), bytes.Compare(a.Issuer.Raw, b.Issuer.Raw), b.Compare(a))
	})
	return slices.CompactFunc(sorted, func(a, b *ForeignCRL) bool { return a.Issuer.Equal(b.Issuer) })
}
