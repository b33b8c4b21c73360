package crl

import (
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/acmeca/acmeca/controllers/ca"
)

// guard returns an error if a signed CRL must not follow the last one; last is nil for the first CRL. It reads the bytes that are
// published, so that it also finds an error in the encoding:
//
//   - The CRL is readable, and the CA signed it.
//   - The number is higher than the last one's, and thisUpdate is before nextUpdate.
//   - The scope is the same: complete, or a shard with the URLs of the last CRL.
//   - No entry is missing unless its certificate has expired, and was listed after the expiry. No revocation date is later.
func guard(last *ca.CRL, der []byte, issuer *x509.Certificate) error {
	next, err := ca.OpenCRL(der, issuer)
	if err != nil {
		return err
	}
	if err := guardHead(last, next); err != nil {
		return err
	}
	var listed ca.Entries
	if last != nil {
		listed = last.Entries
	}
	missing := func(until *ca.PackedEntry) error { // checks the entries of the last CRL before until
		for len(listed) > 0 && (until == nil || listed[0].Compare(until) < 0) {
			if !listed[0].MayLeave(last.ThisUpdate) {
				return fmt.Errorf("certificate %x is not listed any more", listed[0].Serial())
			}
			listed = listed[1:]
		}
		return nil
	}
	err = next.Each(func(entry *ca.PackedEntry) error {
		if err := missing(entry); err != nil {
			return err
		}
		if len(listed) == 0 || listed[0].Compare(entry) != 0 {
			return nil
		}
		before := listed[0]
		listed = listed[1:]
		if entry.RevokedAt().After(before.RevokedAt()) {
			return fmt.Errorf("certificate %x is listed as revoked later than before", entry.Serial())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return missing(nil)
}

// guardHead compares everything but the entries.
func guardHead(last *ca.CRL, next *ca.EncodedCRL) error {
	switch {
	case !next.ThisUpdate.Before(next.NextUpdate):
		return fmt.Errorf("thisUpdate %v is not before nextUpdate %v", next.ThisUpdate, next.NextUpdate)
	case last == nil:
		return nil
	case next.Number.Cmp(last.Number) <= 0:
		return fmt.Errorf("number %s is not above %s", next.Number, last.Number)
	}
	return sameScope(last.URLs, next.URLs)
}

// sameScope returns an error if a CRL with the URLs next is for other certificates than one with the URLs last. The oldest URLs leave
// a shard that has too many.
func sameScope(last, next []string) error {
	if (len(last) == 0) != (len(next) == 0) {
		return fmt.Errorf("the scope changes from %q to %q", last, next)
	}
	for _, url := range last {
		if !slices.Contains(next, url) && len(next) < ca.MaxURLs {
			return fmt.Errorf("the URL %q is missing", url)
		}
	}
	return nil
}
