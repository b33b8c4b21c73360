package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/internal/pki/validity"
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

// bounds of the profile's validity.
func (c ProfileConfig) bounds() validity.Bounds {
	return validity.Bounds{Profile: c.Name, Lifetime: c.Lifetime, MaxLifetime: c.MaxLifetime, Backdate: c.Backdate}
}
