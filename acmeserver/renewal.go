package acmeserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// renewalDocument is RFC 9773 section 4.2's.
type renewalDocument struct {
	SuggestedWindow window `json:"suggestedWindow"`
	ExplanationURL  string `json:"explanationURL,omitempty"`
}

// window is the time in which a certificate is best renewed.
type window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// renewalInfo says when to renew a certificate (RFC 9773 section 4). Anyone may ask, so that the answer is from the cache
// alone, and may be kept.
func (s *Server) renewalInfo(c *call) (*answer, error) {
	id, problem := acme.ParseCertID(c.PathValue("id"))
	if problem != nil {
		return nil, problem
	}
	order, err := s.orderOfCertificate(c, id)
	if err != nil {
		return nil, err
	}
	if order == nil {
		return nil, notFound("certificate")
	}
	suggested, early := c.issuer.renewal(order, id)
	result := ok(renewalDocument{SuggestedWindow: suggested})
	if early {
		result.body = renewalDocument{suggested, c.issuer.spec.RenewalInfo.ExplanationURL}
	}
	result.retryAfter = askAgain(lifetime(order))
	result.maxAge = min(result.retryAfter, maxRenewalAge)
	return result, nil
}

// orderOfCertificate finds the issuer's order that a certificate was issued for; nil for none.
func (s *Server) orderOfCertificate(c *call, id acme.CertID) (*v1alpha1.AcmeOrder, error) {
	order, err := s.orderWithSerial(c, id.Serial())
	if err != nil || order == nil || order.Status.CertificateID != id.String() || order.Status.NotBefore == nil || order.Status.NotAfter == nil {
		return nil, err
	}
	return order, nil
}

// orderWithSerial finds the issuer's order whose certificate has a serial number; nil for none. The client may have got the
// certificate from another replica a moment ago.
func (s *Server) orderWithSerial(c *call, number *big.Int) (*v1alpha1.AcmeOrder, error) {
	current := s.orders.position.reach(c.Context(), s.orders.kind)
	name, found := s.serials.Find(c.issuer.key.Namespace, v1alpha1.SerialText(number))
	switch {
	case !found && !current:
		return nil, notKnownYet()
	case !found:
		return nil, nil
	}
	order, err := s.orders.getCached(c.Context(), types.NamespacedName{Namespace: c.issuer.key.Namespace, Name: name})
	if err != nil || order.Spec.IssuerRef.Name != c.issuer.key.Name {
		return nil, client.IgnoreNotFound(err)
	}
	return order, nil
}

func notKnownYet() *acme.Problem {
	return unavailable("the certificate isn't known here yet; try again")
}

// How often clients ask whether a certificate is to be renewed early: 48 times in its life, but no oftener than each
// minute, and at least every six hours, so that all have heard of an emergency in a quarter of a day.
const (
	checksInLife  = 48
	minAskAgain   = time.Minute
	maxAskAgain   = 6 * time.Hour
	maxRenewalAge = 5 * time.Minute
)

func askAgain(life time.Duration) time.Duration {
	return min(max(life/checksInLife, minAskAgain), maxAskAgain)
}

func lifetime(order *v1alpha1.AcmeOrder) time.Duration {
	return order.Status.NotAfter.Sub(order.Status.NotBefore.Time)
}

// renewal is the earliest of the times at which a certificate should be renewed, and whether something has made that
// earlier than usual.
func (i *issuer) renewal(order *v1alpha1.AcmeOrder, id acme.CertID) (suggested window, early bool) {
	life := lifetime(order)
	suggested = ordinary(order, id)
	// A window that starts no later than the certificate's validity is taken for that of the one before it by cert-manager.
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
	if before := i.spec.RenewalInfo.RenewIssuedBefore; before != nil && issuedAt(order).Before(before.Time) {
		sooner(before.Time, life/windowsInLife)
	}
	if since, left := i.leftBehind(id); left {
		sooner(since, life/windowsInLife)
	}
	return suggested, early
}

// windowsInLife is the lifetime of a certificate in the lengths of a window.
const windowsInLife = 24

// ordinary is a window soon after two thirds of a certificate's life. Where in the next part of it follows from the
// certificate's name: certificates that were issued at once aren't renewed at once, whatever clients make of a window.
func ordinary(order *v1alpha1.AcmeOrder, id acme.CertID) window {
	life := lifetime(order)
	sum := sha256.Sum256([]byte(id.String()))
	spread := float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32)
	offset := time.Duration(spread * float64(life/windowsInLife))
	return newWindow(order.Status.NotBefore.Add(life*2/3+offset), life/windowsInLife)
}

// newWindow never ends before it has started (RFC 9773 section 4.2), in whole seconds.
func newWindow(start time.Time, length time.Duration) window {
	start = start.UTC().Truncate(time.Second)
	return window{start, start.Add(max(length.Truncate(time.Second), time.Second))}
}

// issuedAt is when the certificate was made; its notBefore may be earlier.
func issuedAt(order *v1alpha1.AcmeOrder) time.Time {
	if order.Spec.Finalization == nil {
		return order.CreationTimestamp.Time
	}
	return order.Spec.Finalization.Time.Time
}

// leftBehind reports whether a certificate's CA is of the past, and since when: another one issues now that isn't below the same
// root, or the one that issued it signs nothing any more. An intermediate whose successor is below the same root was replaced
// in the ordinary course: what it issued is as good as before, and renewing it all at once would do nothing but cost.
func (i *issuer) leftBehind(id acme.CertID) (since time.Time, left bool) {
	if len(i.authorities) == 0 {
		return time.Time{}, false
	}
	issuing := i.authorities[0]
	for _, authority := range i.authorities {
		if id.IssuedBy(authority.SubjectKeyId) && (authority == issuing || bytes.Equal(authority.AuthorityKeyId, issuing.AuthorityKeyId)) {
			return time.Time{}, false
		}
	}
	return issuing.NotBefore, true
}
