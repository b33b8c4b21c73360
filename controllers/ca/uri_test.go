package ca

import (
	"crypto/x509"
	"errors"
	"net/url"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
)

// The verdicts on a SPIFFE ID agree with those of clients, with names beside it and without.
func TestIssueWithURI(t *testing.T) {
	id := &url.URL{Scheme: "spiffe", Host: "prod", Path: "/ns/shop/sa/web"}
	for _, test := range []struct {
		name string
		edit func(*x509.Certificate)
		fits bool
	}{
		{"unconstrained", func(*x509.Certificate) {}, true},
		{"names constrained", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"test"} }, true},
		{"permitted", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"prod"} }, true},
		{"not permitted", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"dev"} }, false},
		{"excluded", func(c *x509.Certificate) { c.ExcludedURIDomains = []string{"prod"} }, false},
	} {
		for _, names := range [][]string{nil, {"a.test"}} {
			t.Run(test.name, func(t *testing.T) {
				a := testAuthority(t, ECDSAP256, func(c *x509.Certificate) { test.edit(c); c.PermittedDNSDomainsCritical = true })
				r := testRequest(names...)
				r.URI = id
				cert, err := a.Issue(testProfile(), r)
				if !test.fits {
					var problem *acme.Problem
					if !errors.As(err, &problem) || problem.Type != acme.RejectedIdentifier {
						t.Fatalf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(cert.URIs) != 1 || cert.URIs[0].String() != id.String() || len(cert.DNSNames) != len(names) {
					t.Errorf("got %v and %v", cert.URIs, cert.DNSNames)
				}
				if err := verify(cert, a.Chain(), a.TrustAnchors(), testNow); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
