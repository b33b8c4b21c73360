package acmeserver

import (
	"net/http"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/page"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
)

// directoryDocument is the directory (RFC 8555 section 7.1.1), with the fields of RFC 9773 and draft-ietf-acme-profiles.
type directoryDocument struct {
	NewNonce    string        `json:"newNonce"`
	NewAccount  string        `json:"newAccount"`
	NewOrder    string        `json:"newOrder"`
	NewAuthz    string        `json:"newAuthz"`
	RevokeCert  string        `json:"revokeCert"`
	KeyChange   string        `json:"keyChange"`
	RenewalInfo string        `json:"renewalInfo"`
	Meta        directoryMeta `json:"meta"`
}

type directoryMeta struct {
	TermsOfService          string            `json:"termsOfService,omitempty"`
	Website                 string            `json:"website,omitempty"`
	CAAIdentities           []string          `json:"caaIdentities,omitempty"`
	ExternalAccountRequired bool              `json:"externalAccountRequired"`
	SubdomainAuthAllowed    bool              `json:"subdomainAuthAllowed,omitempty"`
	Profiles                map[string]string `json:"profiles,omitempty"`
	// IssuerDomainNames and AccountHashPrefix are from draft-ietf-acme-dns-persist-02.
	IssuerDomainNames []string `json:"issuerDomainNames,omitempty"`
	AccountHashPrefix string   `json:"accountHashPrefix,omitempty"`
}

// requireBase refuses to describe an issuer that has no URL: it is not set up yet, or not served in this form.
func (c *call) requireBase() error {
	if c.base != "" {
		return nil
	}
	if err := c.requireIssuer(); err != nil {
		return err
	}
	return store.NotFound("resource")
}

func (s *Server) directory(c *call) (*answer.Answer, error) {
	if err := c.requireBase(); err != nil {
		return nil, err
	}
	spec := c.issuer.Spec
	document := directoryDocument{
		NewNonce:    c.url(acme.NewNoncePath),
		NewAccount:  c.url(acme.NewAccountPath),
		NewOrder:    c.url(acme.NewOrderPath),
		NewAuthz:    c.url(acme.NewAuthzPath),
		RevokeCert:  c.url(acme.RevokeCertPath),
		KeyChange:   c.url(acme.KeyChangePath),
		RenewalInfo: c.url(acme.RenewalInfoPath),
		Meta: directoryMeta{
			TermsOfService:          spec.Account.TermsOfService,
			Website:                 spec.Account.Website,
			CAAIdentities:           spec.Validation.CAAIdentities,
			ExternalAccountRequired: spec.Account.ExternalAccountBinding.Required,
			SubdomainAuthAllowed:    spec.Challenges.Subdomains,
			Profiles:                map[string]string{},
			IssuerDomainNames:       c.issuer.DomainNames(),
			AccountHashPrefix:       c.accountHashPrefix(),
		},
	}
	for _, p := range spec.Profiles {
		description := p.Description
		if description == "" {
			description = "valid for " + p.Lifetime.Duration.String()
		}
		document.Meta.Profiles[p.Name] = description
	}
	return answer.OK(document), nil
}

// accountHashPrefix returns the prefix of an accounturi in a record for dns-persist-01 (draft-ietf-acme-dns-persist-02
// section 4.1). Each of the issuer's bases has its own; all are accepted.
func (c *call) accountHashPrefix() string {
	if len(c.issuer.DomainNames()) == 0 {
		return ""
	}
	return c.url(acme.AccountHashPath)
}

// page is the page for people.
func (s *Server) page(c *call) (*answer.Answer, error) {
	if err := c.requireBase(); err != nil {
		return nil, err
	}
	html, err := page.Render(c.issuer, c.base, s.describeCRLs(c))
	if err != nil {
		return nil, err
	}
	return pageAnswer(html), nil
}

func pageAnswer(html []byte) *answer.Answer {
	return &answer.Answer{
		Status: http.StatusOK, Raw: html, ContentType: "text/html; charset=utf-8", MaxAge: page.MaxAge,
		Header: http.Header{
			"Content-Security-Policy": {page.Policy},
			"Referrer-Policy":         {"no-referrer"},
			"X-Frame-Options":         {"DENY"},
		},
	}
}
