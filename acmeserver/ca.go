package acmeserver

import (
	"encoding/pem"
	"net/http"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// caMaxAge is for how long CA certificates may be cached. A new one is published before it is needed.
const caMaxAge = 5 * time.Minute

// caPEM gives the roots to trust.
func (s *Server) caPEM(c *call) (*answer, error) {
	if c.issuer.status.CABundle == "" {
		return nil, notFound("CA certificate")
	}
	return &answer{status: http.StatusOK, raw: []byte(c.issuer.status.CABundle), contentType: "application/x-pem-file", maxAge: caMaxAge}, nil
}

// caDER gives the certificate that signs, where certificates say that it is (RFC 5280 section 4.2.2.1).
func (s *Server) caDER(c *call) (*answer, error) {
	if c.issuer.status.IssuingCertificate == nil {
		return nil, notFound("CA certificate")
	}
	block, _ := pem.Decode([]byte(c.issuer.status.IssuingCertificate.Chain))
	if block == nil {
		return nil, notFound("CA certificate")
	}
	return &answer{status: http.StatusOK, raw: block.Bytes, contentType: "application/pkix-cert", maxAge: caMaxAge}, nil
}

// Plain serves what verifiers have to get without TLS, since they need it to judge TLS certificates (RFC 5280 section 8).
func (s *Server) Plain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, path, _ := s.split(r.URL.EscapedPath())
		resources := map[string]func(*call) (*answer, error){"ca.crt": s.caPEM, "ca.der": s.caDER}
		resource, known := resources[path]
		if strings.HasPrefix(path, acme.CRLPrefix) {
			resource, known = s.crl, true
		}
		if !known || r.Method != http.MethodGet && r.Method != http.MethodHead {
			fail(r.Context(), notFound("resource")).write(w)
			return
		}
		issuer, err := s.issuers.get(r.Context(), key)
		if err != nil {
			fail(r.Context(), err).write(w)
			return
		}
		result, err := resource(&call{Request: r, issuer: issuer, path: path})
		if err != nil {
			result = fail(r.Context(), err)
		}
		result.write(w)
	})
}
