package crl

import (
	"math/big"
	"slices"
	"time"

	"github.com/acmeca/acmeca/controllers/ca"
)

// nextCRL returns the CRL to publish now, or the time until one is due. unlisted are entries that the last CRL lacks.
//
// CRL numbers are seconds since 1970, so that they rise even if a ConfigMap was lost. If the clock was set back, the number is
// one above the last.
func nextCRL(last *publishedCRL, unlisted ca.Entries, now, end time.Time, url string, final bool) (_ ca.CRL, due time.Duration) {
	next := ca.CRL{Number: big.NewInt(now.Unix()), ThisUpdate: now, NextUpdate: end, URLs: urls([]string{url}, nil)}
	if last.crl == nil {
		next.Entries = unlisted
		return next, 0
	}
	if after := new(big.Int).Add(last.crl.Number, big.NewInt(1)); after.Cmp(next.Number) > 0 {
		next.Number = after
	}
	next.URLs = urls(next.URLs, last.crl.URLs)
	renew := last.crl.ThisUpdate.Add(last.crl.NextUpdate.Sub(last.crl.ThisUpdate) * 2 / 5)
	shortened := last.crl.NextUpdate.After(next.NextUpdate)
	unfinished := final && last.crl.NextUpdate.Before(end.Truncate(time.Second))
	moved := url != "" && !slices.Contains(last.crl.URLs, url)
	if last.head != nil && now.Before(renew) && !shortened && !unfinished && !moved && !last.lacks(unlisted) {
		return ca.CRL{}, renew.Sub(now)
	}
	next.Entries = ca.Carry(last.crl.Entries, last.crl.ThisUpdate, unlisted)
	return next, 0
}

// urls returns the current and the former URLs of a shard, each once and none for a complete CRL: certificates name the URL at the
// time of issuance.
func urls(now, before []string) []string {
	var all []string
	for _, url := range slices.Concat(now, before) {
		if url != "" && !slices.Contains(all, url) {
			all = append(all, url)
		}
	}
	return all[:min(len(all), ca.MaxURLs)]
}
