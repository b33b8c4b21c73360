// Package grants matches identifiers with the grants of an issuer. It is pure.
package grants

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Set holds the grants of an issuer. A grant that cannot be parsed is left out, so it grants nothing.
type Set struct {
	list           []grant
	defaultProfile string
	faults         []string
}

// grant is a parsed grant.
type grant struct {
	name           string
	keys, accounts []string
	// names are exact names and exact wildcards; below are domains whose names below are granted.
	names, below []string
	ips          []netip.Prefix
	all          bool
	profiles     []string
	expires      time.Time
}

// New parses the grants of a spec, which has a valid default profile. Faults reports the invalid ones.
func New(spec *v1alpha1.AcmeIssuerSpec, defaultProfile string) *Set {
	s := &Set{defaultProfile: defaultProfile}
	for i := range spec.Grants {
		g, err := parse(&spec.Grants[i], spec.Profiles)
		if err != nil {
			s.faults = append(s.faults, fmt.Sprintf("spec.grants[%d].%v", i, err))
			continue
		}
		s.list = append(s.list, g)
	}
	return s
}

// Faults returns the reasons why grants are ignored. Each names the field.
func (s *Set) Faults() []string { return s.faults }

// parse reads a grant. The error begins with the field.
func parse(spec *v1alpha1.Grant, profiles []v1alpha1.Profile) (grant, error) {
	g := grant{
		name: spec.Name, keys: spec.ExternalAccountKeys, accounts: spec.Accounts, all: spec.AllIdentifiers, profiles: spec.Profiles,
	}
	if spec.Expires != nil {
		g.expires = spec.Expires.Time
	}
	for i, pattern := range spec.DNS {
		domain, isBelow := strings.CutPrefix(pattern, ".")
		normal, problem := acme.Identifier{Type: acme.DNS, Value: domain}.Normalize()
		switch {
		case problem != nil:
			return grant{}, fmt.Errorf("dns[%d]: %s", i, problem.Detail)
		case isBelow && normal.Wildcard():
			return grant{}, fmt.Errorf("dns[%d]: %q is not a name, a domain such as .corp.example, or a wildcard such as *.corp.example",
				i, acme.Printable(pattern, acme.MaxNameLength))
		case isBelow:
			g.below = append(g.below, "."+normal.Value)
		default:
			g.names = append(g.names, normal.Value)
		}
	}
	for i, cidr := range spec.IPs {
		prefix, err := netip.ParsePrefix(cidr)
		switch {
		case err != nil:
			return grant{}, fmt.Errorf("ips[%d]: %q is not an address range such as 10.0.0.0/8", i, acme.Printable(cidr, 64))
		case prefix.Masked() != prefix:
			return grant{}, fmt.Errorf("ips[%d]: %q has bits beyond its length; write %s", i, cidr, prefix.Masked())
		}
		g.ips = append(g.ips, prefix)
	}
	for i, name := range spec.Profiles {
		if !slices.ContainsFunc(profiles, func(p v1alpha1.Profile) bool { return p.Name == name }) {
			return grant{}, fmt.Errorf("profiles[%d]: there is no profile %q", i, acme.Printable(name, 63))
		}
	}
	return g, nil
}

// Request is an identifier that an account orders.
type Request struct {
	Account *v1alpha1.AcmeAccount
	// Identifier in normalized form.
	Identifier acme.Identifier
	Profile    string
	Now        time.Time
}

// Find returns the name of the first grant that covers a request, or "".
func (s *Set) Find(r Request) string {
	for i := range s.list {
		if s.refusal(&s.list[i], r) == "" {
			return s.list[i].name
		}
	}
	return ""
}

// Refusal returns the reason why the grant of a name does not cover a request, or "".
func (s *Set) Refusal(name string, r Request) string {
	for i := range s.list {
		if s.list[i].name == name {
			return s.refusal(&s.list[i], r)
		}
	}
	return "the issuer has no such grant"
}

// Expires returns the end of the grant of a name; zero if it does not end.
func (s *Set) Expires(name string) time.Time {
	for i := range s.list {
		if s.list[i].name == name {
			return s.list[i].expires
		}
	}
	return time.Time{}
}

func (s *Set) refusal(g *grant, r Request) string {
	switch {
	case r.Account == nil || !g.isFor(r.Account):
		return "it is not for this account"
	case !g.expires.IsZero() && !r.Now.Before(g.expires):
		return "it ended at " + g.expires.UTC().Format(time.RFC3339)
	case !g.includes(r.Identifier):
		return "it does not include the identifier"
	case !s.allows(g, r.Profile):
		return fmt.Sprintf("it does not include the profile %q", r.Profile)
	}
	return ""
}

func (s *Set) allows(g *grant, profile string) bool {
	if len(g.profiles) == 0 {
		return profile == s.defaultProfile
	}
	return slices.Contains(g.profiles, profile)
}

func (g *grant) isFor(account *v1alpha1.AcmeAccount) bool {
	key := account.Status.ExternalAccountKeyID
	return account.Name != "" && slices.Contains(g.accounts, account.Name) || key != "" && slices.Contains(g.keys, key)
}

func (g *grant) includes(id acme.Identifier) bool {
	if g.all {
		return true
	}
	switch id.Type {
	case acme.DNS:
		below := func(suffix string) bool { return !id.Wildcard() && strings.HasSuffix(id.Value, suffix) }
		return slices.Contains(g.names, id.Value) || slices.ContainsFunc(g.below, below)
	case acme.IP:
		addr, err := netip.ParseAddr(id.Value)
		return err == nil && slices.ContainsFunc(g.ips, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return false
}

// Narrowed returns the names of the grants that cover less in a spec than they did before, sorted.
func Narrowed(before, now []v1alpha1.Grant) []string {
	var names []string
	for i := range before {
		at := slices.IndexFunc(now, func(g v1alpha1.Grant) bool { return g.Name == before[i].Name })
		if at < 0 || narrowed(&before[i], &now[at]) {
			names = append(names, before[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

func narrowed(before, now *v1alpha1.Grant) bool {
	lost := func(was, is []string) bool {
		return slices.ContainsFunc(was, func(entry string) bool { return !slices.Contains(is, entry) })
	}
	// Without profiles, the default profile is granted, which the first list cannot show.
	defaultLost := len(before.Profiles) == 0 && len(now.Profiles) > 0
	ends := now.Expires != nil && (before.Expires == nil || now.Expires.Before(before.Expires))
	return lost(before.ExternalAccountKeys, now.ExternalAccountKeys) || lost(before.Accounts, now.Accounts) ||
		lost(before.DNS, now.DNS) || lost(before.IPs, now.IPs) || lost(before.Profiles, now.Profiles) || defaultLost || ends ||
		before.AllIdentifiers && !now.AllIdentifiers
}
