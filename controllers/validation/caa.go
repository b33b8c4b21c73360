package validation

import (
	"context"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// checkCAA checks CAA (RFC 8659). It skips IP addresses, for which RFC 8738 defines no CAA. A failed lookup is never treated as
// an empty answer.
func (a *attempt) checkCAA(ctx context.Context) (verdict, *failure) {
	if !a.caaEnforced || a.req.Identifier.Type == acme.IP {
		return proven, nil
	}
	domain, records, failed := a.relevantCAA(ctx)
	if failed != nil {
		return unproven, failed
	}
	if why := a.caaObjection(records); why != "" {
		return unproven, definite(acme.CAA, "the CAA records of %s forbid issuance: %s", network.QuoteName(domain), why)
	}
	return proven, nil
}

// relevantCAA returns the CAA records of the closest domain that has some, from the name up to its top-level domain (RFC 8659
// section 3).
func (a *attempt) relevantCAA(ctx context.Context) (domain string, records []*dns.CAA, failed *failure) {
	domain = strings.TrimSuffix(a.resolver.Absolute(a.req.Identifier.Value), ".")
	for {
		ans, failed := a.lookup(ctx, domain, dns.TypeCAA)
		a.record.addAnswer(ans)
		if failed != nil {
			return domain, nil, failed
		}
		for _, rr := range ans.Records {
			caa := rr.(*dns.CAA)
			a.record.addRecord("CAA " + domain + " " + strings.TrimPrefix(caa.String(), caa.Hdr.String()))
			records = append(records, caa)
		}
		_, parent, found := strings.Cut(domain, ".")
		if len(records) > 0 || !found {
			return domain, records, nil
		}
		domain = parent
	}
}

// caaCritical is the only defined flag (RFC 8659 section 4.1).
const caaCritical = 1 << 7

// caaObjection returns the reason why the relevant records forbid issuance, or "".
func (a *attempt) caaObjection(records []*dns.CAA) string {
	var issue, issueWild []*dns.CAA
	for _, caa := range records {
		switch strings.ToLower(caa.Tag) {
		case "":
			return "a record is malformed"
		case "issue":
			issue = append(issue, caa)
		case "issuewild":
			issueWild = append(issueWild, caa)
		case "iodef":
		default:
			if caa.Flag&caaCritical != 0 {
				return "a record has the critical tag " + network.QuoteName(caa.Tag) + ", which this CA does not support"
			}
		}
	}
	// RFC 8659 section 4.3: for wildcards, issue is ignored if there is an issuewild property.
	deciding := issue
	if a.req.Wildcard && len(issueWild) > 0 {
		deciding = issueWild
	}
	if len(deciding) == 0 || slices.ContainsFunc(deciding, a.caaPermits) {
		return ""
	}
	return "no record permits this CA with this account and challenge type"
}

// caaPermits reports whether an issue or issuewild property permits this CA, the account and the challenge type.
func (a *attempt) caaPermits(caa *dns.CAA) bool {
	value, ok := parseIssueValue(caa.Value)
	if !ok || !slices.Contains(a.caaIdentities, strings.ToLower(value.issuer)) {
		return false
	}
	var accounts, methods int
	for _, p := range value.parameters {
		switch strings.ToLower(p.tag) {
		case "accounturi": // RFC 8657 section 3
			if accounts++; accounts > 1 || !slices.Contains(a.req.AccountURIs, p.value) {
				return false
			}
		case "validationmethods": // RFC 8657 section 4
			if methods++; methods > 1 || !slices.Contains(strings.Split(p.value, ","), string(a.req.Type)) {
				return false
			}
		}
	}
	return true
}

// issueValue is the value of an issue or issuewild property (RFC 8659 section 4.2).
type issueValue struct {
	issuer     string
	parameters []issueParameter
}

type issueParameter struct{ tag, value string }

// parseIssueValue parses an issue-value strictly by its grammar. Callers must treat a malformed value as one that names no CA,
// so that a typo never permits issuance.
func parseIssueValue(s string) (issueValue, bool) {
	issuer, rest, more := strings.Cut(s, ";")
	v := issueValue{issuer: trimWSP(issuer)}
	if v.issuer != "" && !isIssuerDomain(v.issuer) {
		return issueValue{}, false
	}
	if !more || trimWSP(rest) == "" {
		return v, true
	}
	for part := range strings.SplitSeq(rest, ";") {
		tag, value, ok := strings.Cut(part, "=")
		p := issueParameter{tag: trimWSP(tag), value: trimWSP(value)}
		if !ok || !isLabel(p.tag) || !isParameterValue(p.value) {
			return issueValue{}, false
		}
		v.parameters = append(v.parameters, p)
	}
	return v, true
}

func trimWSP(s string) string { return strings.Trim(s, " \t") }

// isIssuerDomain reports whether s is an "issuer-domain-name" of RFC 8659 section 4.2.
func isIssuerDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel reports whether s is a "label" or "tag" of RFC 8659 section 4.2: letters and digits, with hyphens in between.
func isLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// isParameterValue reports whether s is a "value" of RFC 8659 section 4.2: printable ASCII without blanks and semicolons.
func isParameterValue(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7e || c == ';' {
			return false
		}
	}
	return true
}
