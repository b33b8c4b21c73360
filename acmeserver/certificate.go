package acmeserver

import (
	"net/http"
)

// certificateType is the format of a certificate with its chain (RFC 8555 section 9.1). It is sent whatever a client asks
// for: RFC 8555 section 7.4.2 has no other that a client could do with.
const certificateType = "application/pem-certificate-chain"

// certificate gives an order's certificate with its chain (RFC 8555 section 7.4.2).
func (s *Server) certificate(r *signed) (*answer, error) {
	if err := r.reading(); err != nil {
		return nil, err
	}
	order, err := s.orderOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if order.Status.Certificate == "" {
		return nil, notFound("certificate")
	}
	// There is no "up" link: it is for formats of one certificate, and a client would add what it finds there to the chain.
	return &answer{status: http.StatusOK, raw: []byte(order.Status.Certificate), contentType: certificateType}, nil
}
