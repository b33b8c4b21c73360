package issuers

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// Root is a root of a CA that the operator made. Its CRL lists the revoked CA certificates under it.
type Root struct {
	Certificate *x509.Certificate
	// Authority signs the CRL; nil if the root's key is not in the cluster.
	Authority *ca.Authority
	// Revoked are the entries of the CRL.
	Revoked []ca.Entry
}

// CACRL is the CRL of a CA whose key the operator does not have. Both times are zero if there is none.
type CACRL struct {
	Name                   string
	ThisUpdate, NextUpdate time.Time
}

// RootOf returns the root whose CRL has a name.
func (i *Issuer) RootOf(crl string) (Root, bool) {
	index := slices.IndexFunc(i.Roots, func(r Root) bool { return v1alpha1.CAName(r.Certificate) == crl })
	if index < 0 {
		return Root{}, false
	}
	return i.Roots[index], true
}

// CRLLifetime returns the lifetime of a CRL.
func (i *Issuer) CRLLifetime(crl string) time.Duration {
	if _, ok := i.RootOf(crl); ok {
		return i.rootCRLLifetime()
	}
	return i.Spec.CRL.Lifetime.Duration
}

func (i *Issuer) rootCRLLifetime() time.Duration {
	if s := i.Spec.CA.SelfSigned; s != nil && s.RootCRLLifetime != nil {
		return s.RootCRLLifetime.Duration
	}
	return i.Spec.CRL.Lifetime.Duration
}

// IsRevoked reports whether a root revoked a certificate of the issuer's CAs.
func (i *Issuer) IsRevoked(certificate *x509.Certificate) bool {
	return slices.ContainsFunc(i.Revoked, certificate.Equal)
}

// Note adds to the issuer's notice.
func (i *Issuer) Note(format string, args ...any) {
	if i.Notice != "" {
		i.Notice += "; "
	}
	i.Notice += fmt.Sprintf(format, args...)
}

// sameRoots reports whether the roots of two issuers publish the same CRLs.
func sameRoots(a, b []Root) bool {
	return slices.EqualFunc(a, b, func(a, b Root) bool {
		return a.Certificate.Equal(b.Certificate) && (a.Authority == nil) == (b.Authority == nil) &&
			slices.EqualFunc(a.Revoked, b.Revoked, func(a, b ca.Entry) bool { return a.Serial.Cmp(b.Serial) == 0 })
	})
}
