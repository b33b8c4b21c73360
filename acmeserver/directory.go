package acmeserver

import (
	"net/http"

	"github.com/acmeca/acmeca/api/acme"
)

// directoryDocument is RFC 8555 section 7.1.1's, with what RFC 9773 and draft-ietf-acme-profiles add.
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
	// IssuerDomainNames and AccountHashPrefix are draft-ietf-acme-dns-persist-02's.
	IssuerDomainNames []string `json:"issuerDomainNames,omitempty"`
	AccountHashPrefix string   `json:"accountHashPrefix,omitempty"`
}

func (s *Server) directory(c *call) (*answer, error) {
	if c.base == "" {
		return nil, c.issuing() // not set up yet, so that there is no URL to give
	}
	spec := c.issuer.spec
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
			IssuerDomainNames:       c.issuerDomainNames(),
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
	return ok(document), nil
}

// newNonce gives the nonce that every answer has (RFC 8555 section 7.2).
func (s *Server) newNonce(c *call) (*answer, error) {
	if c.Method == http.MethodHead {
		return &answer{status: http.StatusOK}, nil
	}
	return &answer{status: http.StatusNoContent}, nil
}
