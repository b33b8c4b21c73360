package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/internal/pki"
)

// ProfileConfig describes a certificate profile. The errors of NewProfile name the fields as in an AcmeIssuer.
type ProfileConfig struct {
	// Name by which clients request the profile.
	Name string
	// Lifetime of a certificate if the client requests none, both ends included; whole seconds, at least a minute.
	Lifetime time.Duration
	// MaxLifetime bounds the lifetime that a client may request; zero means Lifetime.
	MaxLifetime time.Duration
	// Backdate is the time between the start of validity and the client's finalize request, for clients whose clocks are behind.
	Backdate time.Duration
	// ExtKeyUsages of the certificates: serverAuth, clientAuth or both. Empty means serverAuth.
	ExtKeyUsages []x509.ExtKeyUsage
	// KeepCommonName copies the CSR's common name if it is one of the certificate's names and has at most 64 bytes.
	KeepCommonName bool
}

// Profile is a certificate profile. NewProfile returns valid ones alone.
type Profile struct{ config ProfileConfig }

// minLifetime is the shortest lifetime of a certificate, as in the schema of an AcmeIssuer.
const minLifetime = time.Minute

// NewProfile returns the profile of a configuration. The error starts with the field at fault.
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
		return nil, fmt.Errorf("lifetime: %v is shorter than %v", c.Lifetime, minLifetime)
	case c.Lifetime%time.Second != 0:
		return nil, fmt.Errorf("lifetime: %v is not a number of whole seconds", c.Lifetime)
	case c.MaxLifetime < c.Lifetime:
		return nil, fmt.Errorf("maxLifetime: %v is shorter than lifetime, %v", c.MaxLifetime, c.Lifetime)
	case c.Backdate < 0:
		return nil, fmt.Errorf("backdate: %v is negative", c.Backdate)
	case c.Backdate >= c.Lifetime:
		return nil, fmt.Errorf("backdate: %v must be shorter than lifetime, %v", c.Backdate, c.Lifetime)
	}
	for i, usage := range c.ExtKeyUsages {
		if usage != x509.ExtKeyUsageServerAuth && usage != x509.ExtKeyUsageClientAuth {
			return nil, errors.New("usages: only serverAuth and clientAuth are supported")
		}
		if slices.Contains(c.ExtKeyUsages[:i], usage) {
			return nil, errors.New("usages: a usage is listed twice")
		}
	}
	c.ExtKeyUsages = slices.Sorted(slices.Values(c.ExtKeyUsages))
	return &Profile{c}, nil
}

// Name returns the name by which clients request the profile.
func (p *Profile) Name() string { return p.config.Name }

// bounds returns the bounds of the profile's validity.
func (c ProfileConfig) bounds() pki.ValidityBounds {
	return pki.ValidityBounds{Profile: c.Name, Lifetime: c.Lifetime, MaxLifetime: c.MaxLifetime, Backdate: c.Backdate}
}
