package policy

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/pki"
	"github.com/acmeca/acmeca/internal/policy/grants"
	"github.com/acmeca/acmeca/internal/policy/rules"
)

// Policy is the validated policy of an issuer: names, addresses, challenges, profiles and rules.
type Policy struct {
	allowNames, denyNames []string
	// services lists the domains of the cluster's Services.
	services          []string
	wildcards         bool
	allowIPs, denyIPs []netip.Prefix
	challenges        []acme.ChallengeType
	profiles          []v1alpha1.Profile
	defaultProfile    string
	// binding contains the limits of an account, or is nil.
	binding *binding
	// constraints are the name constraints of the CA.
	constraints pki.NameConstraints
	rules       *rules.Set
	// grants authorize identifiers without a challenge. refuseUngranted refuses all others to accounts.
	grants          *grants.Set
	refuseUngranted bool
	// account is the account in rules, or nil.
	account *v1alpha1.AcmeAccount
}

// New returns the policy of an issuer's spec. The error names the invalid field.
func New(spec *v1alpha1.AcmeIssuerSpec) (*Policy, error) {
	p := &Policy{
		allowNames:     spec.Policy.DNS.Allow,
		denyNames:      spec.Policy.DNS.Deny,
		wildcards:      spec.Policy.DNS.AllowWildcards == nil || *spec.Policy.DNS.AllowWildcards,
		challenges:     spec.Challenges.Types,
		profiles:       spec.Profiles,
		defaultProfile: spec.DefaultProfile,

		refuseUngranted: spec.Policy.Ungranted == v1alpha1.UngrantedRefuse,
	}
	p.services = serviceDomains(spec.Validation.ClusterDomain)
	if len(p.profiles) == 0 {
		return nil, fmt.Errorf("spec.profiles: at least one profile is required")
	}
	if p.defaultProfile == "" {
		p.defaultProfile = p.profiles[0].Name
	}
	if _, problem := p.Profile(""); problem != nil {
		return nil, fmt.Errorf("spec.defaultProfile: there is no profile %q", p.defaultProfile)
	}
	var err error
	if p.allowIPs, err = Prefixes(spec.Policy.IP.Allow); err != nil {
		return nil, fmt.Errorf("spec.policy.ip.allow: %w", err)
	}
	if p.denyIPs, err = Prefixes(spec.Policy.IP.Deny); err != nil {
		return nil, fmt.Errorf("spec.policy.ip.deny: %w", err)
	}
	if p.rules, err = compileRules(spec.Policy.Rules); err != nil {
		return nil, err
	}
	p.grants = grants.New(spec, p.defaultProfile)
	return p, nil
}

// Under returns the policy narrowed by the name constraints of the issuing certificate and the certificates above it.
func (p *Policy) Under(chain []*x509.Certificate) *Policy {
	narrowed := *p
	narrowed.constraints = pki.NewNameConstraints(chain)
	return &narrowed
}

// Profile returns the profile of a name, or the default profile for "". The problem is invalidProfile.
func (p *Policy) Profile(name string) (v1alpha1.Profile, *acme.Problem) {
	if name == "" {
		name = p.defaultProfile
	}
	i := slices.IndexFunc(p.profiles, func(q v1alpha1.Profile) bool { return q.Name == name })
	if i < 0 {
		return v1alpha1.Profile{}, acme.NewProblem(acme.InvalidProfile, "this issuer has no profile %q; the directory lists the available profiles", name)
	}
	return p.profiles[i], nil
}

// Challenges returns the challenge types that are offered for an identifier.
func (p *Policy) Challenges(id acme.Identifier) []acme.ChallengeType {
	return Offered(p.challenges, id)
}

// Offered returns the given challenge types that can prove control of an identifier.
func Offered(challenges []acme.ChallengeType, id acme.Identifier) []acme.ChallengeType {
	var offered []acme.ChallengeType
	for _, c := range challenges {
		if c.Allows(id) {
			offered = append(offered, c)
		}
	}
	return offered
}

// Identifiers refuses normalized identifiers that may not be certified after a proof of control. If several are refused, the problem
// has a subproblem for each (RFC 8555 section 6.7.1).
func (p *Policy) Identifiers(ids []acme.Identifier) *acme.Problem { return p.identifiers(ids, nil) }

// identifiers is Identifiers, but identifiers with a name in granted need no proof of control.
func (p *Policy) identifiers(ids []acme.Identifier, granted []string) *acme.Problem {
	var refused []acme.Problem
	for i, id := range ids {
		if reason := p.refusal(id, i < len(granted) && granted[i] != ""); reason != "" {
			refused = append(refused, *acme.NewProblem(acme.RejectedIdentifier, "%q %s", id.Value, reason).About(id))
		}
	}
	switch len(refused) {
	case 0:
		return nil
	case 1:
		return &refused[0]
	}
	problem := acme.NewProblem(acme.RejectedIdentifier, "%d of %d identifiers are refused", len(refused), len(ids))
	problem.Subproblems = refused
	return problem
}

func (p *Policy) refusal(id acme.Identifier, granted bool) string {
	if reason := p.binding.refusal(id); reason != "" {
		return reason
	}
	switch id.Type {
	case acme.DNS:
		if reason := p.nameRefusal(id, granted); reason != "" {
			return reason
		}
	case acme.IP:
		if reason := p.addressRefusal(id); reason != "" {
			return reason
		}
	default:
		return "is of an unknown type"
	}
	if cert := p.constraints.Check(id); cert != nil {
		return fmt.Sprintf("is outside the name constraints of the CA certificate %q", cert.Subject.String())
	}
	switch {
	case granted:
	case p.refuseUngranted && p.account != nil:
		return "is not granted to this account, and this issuer certifies granted identifiers only"
	case len(p.Challenges(id)) == 0:
		return "cannot be validated: this issuer offers no suitable challenge"
	}
	return ""
}

func (p *Policy) nameRefusal(id acme.Identifier, granted bool) string {
	name := id.Base().Value
	matches := func(domain string) bool { return within(name, id.Wildcard(), domain) }
	switch {
	case id.Wildcard() && !p.wildcards:
		return "is a wildcard, which this issuer does not certify"
	case slices.ContainsFunc(p.denyNames, func(domain string) bool { return overlaps(name, id.Wildcard(), domain) }):
		return "is denied by this issuer's policy"
	case len(p.allowNames) == 0 && !granted && p.isService(name):
		return "is a name of the cluster's Services, which this issuer's policy does not allow explicitly"
	case len(p.allowNames) > 0 && !slices.ContainsFunc(p.allowNames, matches):
		return "is outside the names allowed by this issuer's policy"
	case !validALabels(name):
		return "has an A-label (xn--...) that IDNA 2008 does not allow"
	}
	return ""
}

// serviceDomains returns the domains of Services, in short and long form.
func serviceDomains(cluster string) []string {
	domains := []string{"svc"}
	if cluster != "" {
		domains = append(domains, "svc."+strings.TrimSuffix(cluster, "."))
	}
	return domains
}

// isService reports whether a name belongs to a Service. Everyone who can create a Service in the cluster controls such a name, so it
// must be allowed explicitly.
func (p *Policy) isService(name string) bool {
	return slices.ContainsFunc(p.services, func(domain string) bool { return within(name, true, domain) })
}

func (p *Policy) addressRefusal(id acme.Identifier) string {
	addr, err := netip.ParseAddr(id.Value)
	contains := func(r netip.Prefix) bool { return r.Contains(addr) }
	switch {
	case err != nil:
		return "is not an IP address"
	case slices.ContainsFunc(p.denyIPs, contains):
		return "is denied by this issuer's policy"
	case !slices.ContainsFunc(p.allowIPs, contains):
		return "is outside the addresses allowed by this issuer's policy"
	}
	return ""
}

// within reports whether a name, or the wildcard below it, is in a domain. "corp.example" contains that name and all names below it,
// ".corp.example" only the names below it.
func within(name string, wildcard bool, domain string) bool {
	below, onlyBelow := strings.CutPrefix(domain, ".")
	return name == below && (wildcard || !onlyBelow) || strings.HasSuffix(name, "."+below)
}

// overlaps reports whether a name is in a denied domain, or a wildcard covers a denied name.
func overlaps(name string, wildcard bool, domain string) bool {
	if within(name, wildcard, domain) {
		return true
	}
	denied := strings.TrimPrefix(domain, ".")
	label, ok := strings.CutSuffix(denied, "."+name)
	return wildcard && ok && !strings.Contains(label, ".") && !strings.HasPrefix(domain, ".")
}

// aLabels checks A-labels as a registry does (RFC 5891 section 4), but not their length, which acme.Identifier checked.
var aLabels = idna.New(idna.ValidateForRegistration(), idna.VerifyDNSLength(false))

func validALabels(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !strings.HasPrefix(label, "xn--") {
			continue
		}
		if unicode, err := aLabels.ToUnicode(label); err != nil || unicode == label {
			return false
		}
	}
	return true
}

// Prefixes parses address ranges in CIDR notation.
func Prefixes(cidrs []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, len(cidrs))
	for i, c := range cidrs {
		prefix, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, err
		}
		out[i] = prefix.Masked()
	}
	return out, nil
}

// ValidityBounds returns the validity bounds of a profile.
func ValidityBounds(profile v1alpha1.Profile) pki.ValidityBounds {
	bounds := pki.ValidityBounds{Profile: profile.Name, Lifetime: profile.Lifetime.Duration,
		Backdate: pki.DefaultBackdate(profile.Lifetime.Duration)}
	if profile.MaxLifetime != nil {
		bounds.MaxLifetime = profile.MaxLifetime.Duration
	}
	return bounds
}
