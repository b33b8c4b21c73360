package acmeserver

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/metrics"
	"github.com/acmeca/acmeca/acmeserver/page"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// caMaxAge is how long CA certificates may be cached. A new one is published before it is needed.
const caMaxAge = 5 * time.Minute

// isRetained reports whether a path is served after its issuer was deleted.
func isRetained(path string) bool {
	return path == "ca.crt" || path == "ca.der" || strings.HasPrefix(path, acme.CRLPrefix) || strings.HasPrefix(path, acme.CAPrefix)
}

// caPEM returns the roots to trust.
func (s *Server) caPEM(c *call) (*answer.Answer, error) {
	if c.issuer.Status.CABundle == "" {
		return nil, store.NotFound("CA certificate")
	}
	return pemAnswer([]byte(c.issuer.Status.CABundle)), nil
}

// caDER returns the certificate that issues now.
func (s *Server) caDER(c *call) (*answer.Answer, error) {
	if len(c.issuer.Authorities) == 0 {
		return nil, store.NotFound("CA certificate")
	}
	return derAnswer(c.issuer.Authorities[0]), nil
}

// caByName returns a CA certificate at the URL that the certificates issued under it contain (RFC 5280 section 4.2.2.1). For
// people there are also PEM, the roots and the chain.
func (s *Server) caByName(c *call) (*answer.Answer, error) {
	file, found := strings.CutPrefix(c.path, acme.CAPrefix)
	if issuing := c.issuer.Status.IssuingCertificate; file == page.ChainFile && issuing != nil {
		return pemAnswer([]byte(issuing.Chain)), nil
	}
	name, inPEM := strings.CutSuffix(file, ".pem")
	name, inDER := strings.CutSuffix(name, acme.CASuffix)
	all := slices.Concat(c.issuer.Authorities, c.issuer.Roots)
	i := slices.IndexFunc(all, func(a *x509.Certificate) bool { return v1alpha1.CAName(a) == name })
	switch {
	case !found || i < 0 || inPEM == inDER:
		return nil, store.NotFound("CA certificate")
	case inPEM:
		return pemAnswer(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: all[i].Raw})), nil
	}
	return derAnswer(all[i]), nil
}

func pemAnswer(text []byte) *answer.Answer {
	return &answer.Answer{Status: http.StatusOK, Raw: text, ContentType: "application/x-pem-file", MaxAge: caMaxAge}
}

func derAnswer(certificate *x509.Certificate) *answer.Answer {
	return &answer.Answer{Status: http.StatusOK, Raw: certificate.Raw, ContentType: "application/pkix-cert", MaxAge: caMaxAge}
}

// crlMaxAge is how long a CRL may be cached. It bounds how much later a revocation is seen by a client behind a cache, so it is short
// against the lifetime of a CRL: a client that asks again after it gets the status 304 if the CRL is the same.
const crlMaxAge = time.Minute

// crl returns a list of revoked certificates (RFC 5280 section 4.2.1.13).
func (s *Server) crl(c *call) (*answer.Answer, error) {
	file, found := strings.CutPrefix(c.path, acme.CRLPrefix)
	if file == acme.CRLFile {
		return s.crlFile(c)
	}
	name, isCRL := strings.CutSuffix(file, acme.CRLSuffix)
	if !found || !isCRL || !c.issuer.HasCRL(name) {
		return nil, store.NotFound("CRL")
	}
	crl, err := s.published.CRL(c.Context(), c.issuer.Key, name, s.now())
	if err != nil {
		return nil, err
	}
	stream := func(body []byte) *answer.Stream {
		return &answer.Stream{Size: len(body), Send: func(w io.Writer) error {
			return crl.Send(w, func(w io.Writer) error {
				_, err := w.Write(body)
				return err
			})
		}}
	}
	var compressed func() *answer.Stream
	if crl.Gzip != nil {
		compressed = func() *answer.Stream { return stream(crl.Gzip()) }
	}
	result := &answer.Answer{Status: http.StatusOK, Stream: stream(crl.DER), ContentType: "application/pkix-crl",
		MaxAge: min(crlMaxAge, max(crl.NextUpdate.Sub(s.now()), 0))}
	return result.Cacheable(c.Request, crl.Tag, crl.ThisUpdate, compressed), nil
}

// Plain returns the handler of the listener without TLS. Verifiers need CRLs and CA certificates to judge TLS certificates,
// so they must not need TLS to get them (RFC 5280 section 8).
func (s *Server) Plain() http.Handler {
	type resource struct {
		counted *metrics.Route
		handle  handler
	}
	serve := func(route string, h handler) resource { return resource{s.metrics.Route("plain/" + route), h} }
	exact := map[string]resource{"ca.crt": serve("ca.crt", s.caPEM), "ca.der": serve("ca.der", s.caDER)}
	crl, ca := serve("crl/{file}", s.crl), serve(acme.CAPrefix+"{file}", s.caByName)
	none := resource{s.metrics.Other, func(*call) (*answer.Answer, error) { return nil, store.NotFound("resource") }}
	return s.recoverPanics(s.limitRequests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, path, _ := s.splitPath(r.URL.EscapedPath())
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
		begun := found.counted.Begin()
		var result *answer.Answer
		defer func() { end(found.counted, begun, result) }()
		c := &call{Request: r, path: path}
		var err error
		if c.issuer, err = s.issuerOf(r.Context(), key, path); err == nil {
			result, err = found.handle(c)
		}
		if err != nil {
			result = answer.Fail(withIssuer(r.Context(), key), err)
		}
		s.send(w, c, result)
	})))
}
