package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// ProfileConfig describes a kind of certificate. The errors of NewProfile name its fields as an AcmeIssuer writes them.
type ProfileConfig struct {
	// Name by which clients ask for it.
	Name string
	// Lifetime of a certificate when the client asks for none, both ends included; whole seconds, at least a minute.
	Lifetime time.Duration
	// MaxLifetime bounds what a client may ask for; zero stands for Lifetime.
	MaxLifetime time.Duration
	// Backdate is how long before the client's finalize request validity starts, for clocks that are behind.
	Backdate time.Duration
	// ExtKeyUsages of the certificates: serverAuth, clientAuth or both; serverAuth without any.
	ExtKeyUsages []x509.ExtKeyUsage
	// KeepCommonName copies the CSR's common name, if it is one of the certificate's names and has at most 64 bytes.
	KeepCommonName bool
}

// Profile is a kind of certificate. One that exists is valid.
type Profile struct{ config ProfileConfig }

// minLifetime is the shortest certificate that makes sense; the AcmeIssuer's schema says the same.
const minLifetime = time.Minute

// DefaultBackdate is how long certificates of such a lifetime are usually backdated: an hour, as public CAs do, and less
// for short ones, of which it would eat too much.
func DefaultBackdate(lifetime time.Duration) time.Duration {
	return min(time.Hour, (lifetime / 12).Truncate(time.Second))
}

// NewProfile checks a configuration. The error is a sentence that starts with the field at fault.
func NewProfile(c ProfileConfig) (*Profile, error) {
	if c.MaxLifetime == 0 {
		c.MaxLifetime = c.Lifetime
	}
	if len(c.ExtKeyUsages) == 0 {
		c.ExtKeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	switch {
	case c.Name == "":
		return nil, errors.New("name: must not be empty")
	case c.Lifetime < minLifetime:
		return nil, fmt.Errorf("lifetime: %v is below %v", c.Lifetime, minLifetime)
	case c.Lifetime%time.Second != 0:
		return nil, fmt.Errorf("lifetime: %v is not a number of whole seconds", c.Lifetime)
	case c.MaxLifetime < c.Lifetime:
		return nil, fmt.Errorf("maxLifetime: %v is below lifetime, which is %v", c.MaxLifetime, c.Lifetime)
	case c.Backdate < 0:
		return nil, fmt.Errorf("backdate: %v is negative", c.Backdate)
	case c.Backdate >= c.Lifetime:
		return nil, fmt.Errorf("backdate: %v leaves nothing of lifetime, which is %v", c.Backdate, c.Lifetime)
	}
	for i, usage := range c.ExtKeyUsages {
		if usage != x509.ExtKeyUsageServerAuth && usage != x509.ExtKeyUsageClientAuth {
			return nil, errors.New("usages: only serverAuth and clientAuth are known")
		}
		if slices.Contains(c.ExtKeyUsages[:i], usage) {
			return nil, errors.New("usages: the same usage is there twice")
		}
	}
	c.ExtKeyUsages = slices.Sorted(slices.Values(c.ExtKeyUsages))
	return &Profile{c}, nil
}

// Name by which clients ask for the profile.
func (p *Profile) Name() string { return p.config.Name }

// CheckValidity says what is wrong with the validity that a client asks for in a new order, at the time of the request;
// zero times ask for nothing. RFC 8555 section 7.4 has a server refuse what it won't do, rather than do something else.
func (p *Profile) CheckValidity(at, notBefore, notAfter time.Time) *acme.Problem {
	_, _, problem := p.validity(at, at, notBefore, notAfter)
	return problem
}

// clockSkew is how far a client's clock may be off when it asks for a validity that starts now, or for the longest one.
const clockSkew = time.Minute

// validity is the first and the last second of a certificate that was ordered and finalized at these times, and for which
// notBefore and notAfter were asked, either of them zero if not. What was asked for is given exactly or refused.
func (p *Profile) validity(ordered, finalized, notBefore, notAfter time.Time) (from, to time.Time, problem *acme.Problem) {
	finalized = wholeSecond(finalized)
	latest := finalized.Add(p.config.MaxLifetime)
	from = finalized.Add(-p.config.Backdate)
	if !notBefore.IsZero() {
		from = wholeSecond(notBefore)
	}
	to = lastSecond(from, p.config.Lifetime)
	if !notAfter.IsZero() {
		to = wholeSecond(notAfter)
		if notBefore.IsZero() && to.Add(-p.config.MaxLifetime).After(from) {
			// Less backdating, so that the longest lifetime can be asked for.
			from = earlier(to.Add(-p.config.MaxLifetime), finalized)
		}
	}
	switch {
	case !notBefore.IsZero() && from.Before(ordered.Add(-max(p.config.Backdate, clockSkew))):
		problem = acme.NewProblem(acme.Malformed, "notBefore %s is in the past", timeText(from))
	case to.Before(finalized):
		problem = acme.NewProblem(acme.Malformed, "notAfter %s is in the past", timeText(to))
	case to.Before(from):
		problem = acme.NewProblem(acme.Malformed, "notAfter %s is before notBefore, which is %s", timeText(to), timeText(from))
	case to.After(latest.Add(clockSkew)), to.Sub(from) > p.config.MaxLifetime+clockSkew:
		problem = acme.NewProblem(acme.Malformed, "a certificate until %s would be longer than profile %q allows, which is %v",
			timeText(to), p.config.Name, p.config.MaxLifetime)
	}
	return from, to, problem
}
