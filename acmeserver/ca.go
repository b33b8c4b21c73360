package acmeserver

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// caMaxAge is for how long CA certificates may be cached. A new one is published before it is needed.
const caMaxAge = 5 * time.Minute

// caPEM gives the roots to trust.
func (s *Server) caPEM(c *call) (*answer, error) {
	if c.issuer.status.CABundle == "" {
		return nil, notFound("CA certificate")
	}
	return pemAnswer([]byte(c.issuer.status.CABundle)), nil
}

// caDER gives the certificate that signs now.
func (s *Server) caDER(c *call) (*answer, error) {
	if len(c.issuer.authorities) == 0 {
		return nil, notFound("CA certificate")
	}
	return caAnswer(c.issuer.authorities[0]), nil
}

// caByName gives a certificate that signs or signed, where the certificates that it issued say that it is (RFC 5280 section
// 4.2.2.1); for people also in PEM, and the roots and the chain.
func (s *Server) caByName(c *call) (*answer, error) {
	file, found := strings.CutPrefix(c.path, acme.CAPrefix)
	if issuing := c.issuer.status.IssuingCertificate; file == chainFile && issuing != nil {
		return pemAnswer([]byte(issuing.Chain)), nil
	}
	name, inPEM := strings.CutSuffix(file, ".pem")
	name, der := strings.CutSuffix(name, acme.CASuffix)
	all := slices.Concat(c.issuer.authorities, c.issuer.roots)
	i := slices.IndexFunc(all, func(a *x509.Certificate) bool { return v1alpha1.CAName(a) == name })
	switch {
	case !found || i < 0 || inPEM == der:
		return nil, notFound("CA certificate")
	case inPEM:
		return pemAnswer(encodePEM(all[i])), nil
	}
	return caAnswer(all[i]), nil
}

func pemAnswer(text []byte) *answer {
	return &answer{status: http.StatusOK, raw: text, contentType: "application/x-pem-file", maxAge: caMaxAge}
}

func caAnswer(certificate *x509.Certificate) *answer {
	return &answer{status: http.StatusOK, raw: certificate.Raw, contentType: "application/pkix-cert", maxAge: caMaxAge}
}

// Plain serves what verifiers have to get without TLS, since they need it to judge TLS certificates (RFC 5280 section 8).
func (s *Server) Plain() http.Handler {
	type resource struct {
		measured *routeMetrics
		answer   handler
	}
	serve := func(route string, h handler) resource { return resource{s.metrics.route("plain/" + route), h} }
	exact := map[string]resource{"ca.crt": serve("ca.crt", s.caPEM), "ca.der": serve("ca.der", s.caDER)}
	crl, ca := serve("crl/{file}", s.crl), serve(acme.CAPrefix+"{file}", s.caByName)
	none := resource{s.metrics.other, func(*call) (*answer, error) { return nil, notFound("resource") }}
	return s.bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, path, _ := s.split(r.URL.EscapedPath())
		found, known := exact[path]
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			found = none
		case known:
		case strings.HasPrefix(path, acme.CRLPrefix):
			found = crl
		case strings.HasPrefix(path, acme.CAPrefix):
			found = ca
		default:
			found = none
		}
		begun := found.measured.begin()
		var result *answer
		defer func() { found.measured.end(begun, result) }()
		issuer, err := s.issuerFor(r.Context(), key, path)
		if err == nil {
			result, err = found.answer(&call{Request: r, issuer: issuer, path: path})
		}
		if err != nil {
			result = fail(logging(r.Context(), key), err)
		}
		result.write(w)
	}))
}
