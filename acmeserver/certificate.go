package acmeserver

import (
	"net/http"
	"strconv"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/renewal"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// certificateType is the format of a certificate with its chain (RFC 8555 section 9.1). It is the only one, whatever the
// client accepts: RFC 8555 section 7.4.2 has no other that a client could use.
const certificateType = "application/pem-certificate-chain"

// certificate returns an order's certificate with a chain, and links to the other chains (RFC 8555 section 7.4.2). Chains
// have the numbers of their order in issuers.Chains; the first one has none in its URL.
func (s *Server) certificate(r *request) (*answer.Answer, error) {
	if err := r.requirePOSTAsGET(); err != nil {
		return nil, err
	}
	order, err := s.orderOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var found store.Certificate
	// An order that is unfinished here may be finished at another replica, which told the client of a certificate.
	if order.Finalized() || order.Status.Serial != "" {
		if found, err = s.store.Certificate(r.Context(), order); err != nil {
			return nil, err
		}
	}
	if found.PEM == "" {
		return nil, store.NotFound("certificate")
	}
	whole, err := s.issuers.WholeChain(r.Context(), r.issuer, found)
	if err != nil {
		return nil, err
	}
	chains := issuers.Chains(whole, r.issuer.Roots)
	chosen := 0
	if number := r.PathValue("chain"); number != "" {
		if chosen, err = strconv.Atoi(number); err != nil || chosen < 1 || chosen >= len(chains) || number != strconv.Itoa(chosen) {
			return nil, store.NotFound("chain")
		}
	}
	// There is no "up" link: it is for formats without a chain, and a client would add its target to the chain.
	result := &answer.Answer{Status: http.StatusOK, Raw: chains[chosen], ContentType: certificateType}
	for i := range chains {
		if i != chosen {
			result.Links = append(result.Links, answer.Link{URL: r.url(acme.ChainPath(order.Name, i)), Rel: "alternate"})
		}
	}
	return result, nil
}

// renewalDocument is renewal information (RFC 9773 section 4.2).
type renewalDocument struct {
	SuggestedWindow renewal.Window `json:"suggestedWindow"`
	ExplanationURL  string         `json:"explanationURL,omitempty"`
}

// renewalInfo suggests when to renew a certificate (RFC 9773 section 4). Anyone may ask, so reads past the
// cache are bounded, and other caches may keep the answer.
func (s *Server) renewalInfo(c *call) (*answer.Answer, error) {
	id, problem := acme.ParseCertID(c.PathValue("id"))
	if problem != nil {
		return nil, problem
	}
	order, err := s.orderOfCertificate(c, id)
	if err != nil {
		return nil, err
	}
	suggested, early := renewal.Suggest(c.issuer, order, id)
	document := renewalDocument{SuggestedWindow: suggested}
	if early {
		document.ExplanationURL = c.issuer.Spec.RenewalInfo.ExplanationURL
	}
	result := answer.OK(document)
	result.RetryAfter = renewal.Interval(order)
	result.MaxAge = min(result.RetryAfter, renewal.MaxAge)
	return result, nil
}

// orderOfCertificate returns the issuer's order that a certificate was issued for. The error is store.ErrNotFound if there
// is none.
func (s *Server) orderOfCertificate(c *call, id acme.CertID) (*v1alpha1.AcmeOrder, error) {
	order, err := s.store.OrderWithSerial(c.Context(), c.issuer.Key, id.Serial())
	if err == nil && (order.CertificateID() != id.String() || order.Status.NotBefore == nil || order.Status.NotAfter == nil) {
		return nil, store.NotFound("certificate")
	}
	return order, err
}
