package acmeserver

import (
	"net/http"
	"strconv"

	"github.com/acmeca/acmeca/api/acme"
)

// certificateType is the format of a certificate with its chain (RFC 8555 section 9.1). It is sent whatever a client asks
// for: RFC 8555 section 7.4.2 has no other that a client could do with.
const certificateType = "application/pem-certificate-chain"

// certificate gives an order's certificate with a chain, and links to the other chains (RFC 8555 section 7.4.2). Chains are
// numbered from 1 in the order of chains; the first one has no number.
func (s *Server) certificate(r *signed) (*answer, error) {
	if err := r.reading(); err != nil {
		return nil, err
	}
	order, err := s.orderOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var text string
	// Where the order isn't finished here, another replica may have told the client that there is a certificate.
	if order.Spec.CSR != "" || order.Status.Serial != "" {
		if text, err = s.texts.of(r.Context(), s.orders, order); err != nil {
			return nil, err
		}
	}
	if text == "" {
		return nil, notFound("certificate")
	}
	all := chains([]byte(text), r.issuer.roots)
	chosen := 0
	if number := r.PathValue("chain"); number != "" {
		if chosen, err = strconv.Atoi(number); err != nil || chosen < 1 || chosen >= len(all) || number != strconv.Itoa(chosen) {
			return nil, notFound("chain")
		}
	}
	// There is no "up" link: it is for formats of one certificate, and a client would add what it finds there to the chain.
	result := &answer{status: http.StatusOK, raw: all[chosen], contentType: certificateType}
	for i := range all {
		if i != chosen {
			result.links = append(result.links, link{r.url(acme.ChainPath(order.Name, i)), "alternate"})
		}
	}
	return result, nil
}
