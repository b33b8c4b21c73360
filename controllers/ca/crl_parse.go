package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// ParseCRL reads a CRL of this package, at most MaxCRLSize bytes of DER, and verifies that issuer signed it. It never panics.
func ParseCRL(der []byte, issuer *x509.Certificate) (*CRL, error) {
	crl, list, err := parseCRL(der)
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

func parseCRL(der []byte) (*CRL, *x509.RevocationList, error) {
	if len(der) > MaxCRLSize {
		return nil, nil, fmt.Errorf("the CRL is larger than %d bytes", MaxCRLSize)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, nil, fmt.Errorf("the CRL cannot be read: %w", err)
	}
	if len(list.Raw) != len(der) {
		return nil, nil, errors.New("the CRL cannot be read: it has trailing data")
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
			if crl.URLs, err = distributionPointURLs(extension.Value); err != nil {
				return nil, nil, err
			}
		case extension.Critical:
			return nil, nil, fmt.Errorf("the CRL has the unsupported critical extension %s", extension.Id)
		}
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
