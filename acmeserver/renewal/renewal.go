// Package renewal suggests when to renew a certificate (RFC 9773).
package renewal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Window is the time in which a certificate is best renewed (RFC 9773 section 4.2).
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// MaxAge bounds how long caches may keep a suggestion.
const MaxAge = 5 * time.Minute

// Clients ask checksInLife times in a certificate's life whether to renew it early: at most once a minute, and at least
// every six hours, so that all clients hear of an emergency within that time.
const (
	checksInLife = 48
	minInterval  = time.Minute
	maxInterval  = 6 * time.Hour
)

// Interval returns the time after which the client should ask again (RFC 9773 section 4.3).
func Interval(order *v1alpha1.AcmeOrder) time.Duration {
	return min(max(lifetime(order)/checksInLife, minInterval), maxInterval)
}

func lifetime(order *v1alpha1.AcmeOrder) time.Duration {
	return order.Status.NotAfter.Sub(order.Status.NotBefore.Time)
}

// Suggest returns the window in which to renew the certificate of an order, and whether something makes it earlier than
// usual: a revocation, the issuer's renewIssuedBefore, or a replaced CA. The earliest reason counts.
func Suggest(i *issuers.Issuer, order *v1alpha1.AcmeOrder, id acme.CertID) (suggested Window, early bool) {
	life := lifetime(order)
	suggested = usual(order, id)
	// cert-manager ignores a window that starts no later than the certificate's validity: it assumes that the window
	// belongs to the previous certificate.
	first := order.Status.NotBefore.Add(time.Second)
	sooner := func(start time.Time, length time.Duration) {
		if before := first.Sub(start); before > 0 {
			start, length = first, length-before
		}
		if start.Before(suggested.Start) {
			suggested, early = newWindow(start, length), true
		}
	}
	if revoked := order.Status.RevokedAt; revoked != nil {
		sooner(revoked.Add(-time.Hour), time.Hour)
	}
	if before := i.Spec.RenewalInfo.RenewIssuedBefore; before != nil && issuedAt(order).Before(before.Time) {
		sooner(before.Time, life/windowsInLife)
	}
	if since, replaced := superseded(i, id); replaced {
		sooner(since, life/windowsInLife)
	}
	return suggested, early
}

// windowsInLife is the lifetime of a certificate divided by the length of a window.
const windowsInLife = 24

// usual returns a window shortly after two thirds of a certificate's life. Its offset is derived from the certificate's ID,
// so that certificates issued together are not renewed together, however clients choose a time within their window.
func usual(order *v1alpha1.AcmeOrder, id acme.CertID) Window {
	life := lifetime(order)
	sum := sha256.Sum256([]byte(id.String()))
	spread := float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32)
	offset := time.Duration(spread * float64(life/windowsInLife))
	return newWindow(order.Status.NotBefore.Add(life*2/3+offset), life/windowsInLife)
}

// newWindow returns a window in whole seconds. It always ends after its start (RFC 9773 section 4.2).
func newWindow(start time.Time, length time.Duration) Window {
	start = start.UTC().Truncate(time.Second)
	return Window{start, start.Add(max(length.Truncate(time.Second), time.Second))}
}

// issuedAt returns the time of issuance. The certificate's notBefore may be earlier.
func issuedAt(order *v1alpha1.AcmeOrder) time.Time {
	if order.Spec.Finalization == nil {
		return order.CreationTimestamp.Time
	}
	return order.Spec.Finalization.Time.Time
}

// superseded reports whether the issuing CA was revoked, was replaced by one under another root, or signs nothing any more, and
// since when. An intermediate whose successor is under the same root was replaced on schedule: its certificates stay good, and
// renewing all of them at once would only cost.
func superseded(i *issuers.Issuer, id acme.CertID) (since time.Time, replaced bool) {
	if len(i.Authorities) == 0 {
		return time.Time{}, false
	}
	issuing := i.Authorities[0]
	for _, authority := range i.Authorities {
		if i.IsRevoked(authority) {
			continue
		}
		if id.IssuedBy(authority.SubjectKeyId) && (authority == issuing || bytes.Equal(authority.AuthorityKeyId, issuing.AuthorityKeyId)) {
			return time.Time{}, false
		}
	}
	return issuing.NotBefore, true
}
