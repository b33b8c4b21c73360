package acmeserver

import (
	"encoding/pem"
	"net/http"
)

// caPEM gives the roots to trust.
func (s *Server) caPEM(c *call) (*answer, error) {
	if c.issuer.status.CABundle == "" {
		return nil, notFound("CA certificate")
	}
	return &answer{status: http.StatusOK, raw: []byte(c.issuer.status.CABundle), contentType: "application/x-pem-file"}, nil
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
	return &answer{status: http.StatusOK, raw: block.Bytes, contentType: "application/pkix-cert"}, nil
}
