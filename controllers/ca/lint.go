package ca

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
	// The lints of lintSources register themselves.
	_ "github.com/zmap/zlint/v3/lints/cabf_br"
	_ "github.com/zmap/zlint/v3/lints/community"
	_ "github.com/zmap/zlint/v3/lints/rfc"
)

// lintSources are the rules that this CA follows. The Baseline Requirements are for public CAs, but their rules for certificates
// are the state of the art. lintExclusions lists the rules that can't hold in a private network.
var lintSources = lint.SourceList{
	lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC8813,
	lint.CABFBaselineRequirements,
	lint.Community,
}

// lintExclusions maps each lint that does not apply to a private CA to the reason.
var lintExclusions = map[string]string{
	"e_dnsname_not_valid_tld":                       "private networks have names under no public top-level domain",
	"e_dnsname_contains_bare_iana_suffix":           "a single label can be a host here, whatever the public suffix list says",
	"e_ext_san_contains_reserved_ip":                "private networks have private addresses",
	"e_subject_contains_reserved_ip":                "private networks have private addresses",
	"e_subject_contains_reserved_arpa_ip":           "private networks have private addresses",
	"e_ext_nc_intersects_reserved_ip":               "private networks have private addresses",
	"e_arpa_domain_not_allowed":                     "private networks have names under home.arpa and in reverse zones",
	"e_ext_san_uri_host_not_fqdn_or_ip":             "the host of a SPIFFE ID is a trust domain, which may have one label",
	"e_ext_san_uniform_resource_identifier_present": "a SPIFFE ID is a URI",
	"e_sub_cert_certificate_policies_missing":       "policy identifiers are those of public CAs",
	"e_sub_ca_certificate_policies_missing":         "policy identifiers are those of public CAs",
	"e_invalid_ca_certificate_policies":             "policy identifiers are those of public CAs",
	"e_sub_cert_cert_policy_empty":                  "policy identifiers are those of public CAs",
	"e_sub_cert_aia_missing":                        "the HTTP listener that AIA would name can be off",
	"e_missing_crl_distrib_point":                   "the HTTP listener that CRL distribution points would name can be off",
	"e_sub_ca_crl_distribution_points_missing":      "a root that is kept offline, or was removed, signs no CRL",
	"e_issuer_dn_country_not_printable_string":      "the subject of a CA that is brought is as it is",
	"e_ca_country_name_missing":                     "the subject of a private CA is its owner's choice",
	"e_ca_organization_name_missing":                "the subject of a private CA is its owner's choice",
	"e_signature_algorithm_not_supported":           "Ed25519 (RFC 8410) is allowed here",
	"e_algorithm_identifier_improper_encoding":      "Ed25519 (RFC 8410) is allowed here; x509 encodes the others as the rule says",
	"e_server_cert_valid_time_longer_than_47_days":  "the profile decides",
	"e_server_cert_valid_time_longer_than_100_days": "the profile decides",
	"e_server_cert_valid_time_longer_than_200_days": "the profile decides",
	"e_sub_cert_valid_time_longer_than_39_months":   "the profile decides",
	"e_sub_cert_valid_time_longer_than_825_days":    "the profile decides",
	"e_cab_crl_has_valid_reason_code":               "the CRL of a root lists CA certificates, for which RFC 5280 has the reason cACompromise",
	"e_crl_next_update_invalid":                     "the issuer's owner decides how long a CRL is good for",
}

// lintsOfSignatures verify the signature with keys of compromised CAs, which takes longer than all other lints together. They find
// nothing here, since the linted signature is by a throw-away key.
var lintsOfSignatures = []string{"e_cert_issued_by_compromised_emudhra_ca"}

// lints returns the registry of lintSources without lintExclusions and lintsOfSignatures. It is made once.
var lints = sync.OnceValues(func() (lint.Registry, error) {
	exclude := slices.AppendSeq(slices.Clone(lintsOfSignatures), maps.Keys(lintExclusions))
	return lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lintSources, ExcludeNames: exclude})
})

// LintError is a finding in a certificate or CRL that this CA was about to sign. The CA or its configuration is at fault.
// Nothing was signed.
type LintError struct {
	// Lint is the name under which zlint documents the rule.
	Lint string
	// Details of the finding; may be empty.
	Details string
	// Rule is the description of the rule and its source.
	Rule string
}

func (e *LintError) Error() string {
	text := fmt.Sprintf("lint %s forbids it: %s", e.Lint, e.Rule)
	if e.Details != "" {
		text += " (" + e.Details + ")"
	}
	return text
}

func finding(meta lint.LintMetadata, result *lint.LintResult) error {
	if result.Status != lint.Error && result.Status != lint.Fatal {
		return nil
	}
	return &LintError{Lint: meta.Name, Details: result.Details, Rule: meta.Description + ", " + meta.Citation}
}

// lintCertificate lints a certificate, regardless of its signer, and returns the first finding as a LintError.
func lintCertificate(der []byte) error {
	registry, err := lints()
	if err != nil {
		return fmt.Errorf("set up lints: %w", err)
	}
	cert, err := zx509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("parse for linting: %w", err)
	}
	for _, l := range registry.CertificateLints().Lints() {
		if err := finding(l.LintMetadata, l.Execute(cert, registry.GetConfiguration())); err != nil {
			return err
		}
	}
	return nil
}

// lintCRL lints a CRL, regardless of its signer, and returns the first finding as a LintError.
func lintCRL(der []byte) error {
	registry, err := lints()
	if err != nil {
		return fmt.Errorf("set up lints: %w", err)
	}
	crl, err := zx509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("parse for linting: %w", err)
	}
	for _, l := range registry.RevocationListLints().Lints() {
		if err := finding(l.LintMetadata, l.Execute(crl, registry.GetConfiguration())); err != nil {
			return err
		}
	}
	return nil
}
