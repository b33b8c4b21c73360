package policy

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Names of few labels, so that lists and names meet.
var (
	aLabel  = rapid.SampledFrom([]string{"a", "b", "svc"})
	anyName = rapid.Map(rapid.SliceOfN(aLabel, 1, 3), func(labels []string) string { return strings.Join(append(labels, "test"), ".") })
	aDomain = rapid.Map(rapid.SliceOfN(aLabel, 0, 2), func(labels []string) string { return strings.Join(append(labels, "test"), ".") })
	aListed = rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "."}).Draw(t, "dot") + aDomain.Draw(t, "domain")
	})
	domainList  = rapid.SliceOfN(aListed, 0, 3)
	aRange      = rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "fd00::/8", "fd00:1::/32", "::/0"})
	rangeList   = rapid.SliceOfN(aRange, 0, 3)
	someAddress = rapid.SampledFrom([]string{"10.1.2.3", "10.1.3.3", "10.2.0.1", "192.0.2.1", "fd00:1::1", "fd00:2::1", "2001:db8::1"})
)

func dns(value string) acme.Identifier { return acme.Identifier{Type: acme.DNS, Value: value} }

func allowed(p *Policy, id acme.Identifier) bool { return p.Identifiers([]acme.Identifier{id}) == nil }

// drawPolicy is any policy on names and addresses.
func drawPolicy(t *rapid.T) (*Policy, *v1alpha1.AcmeIssuerSpec) {
	s := spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Policy.DNS.Allow, s.Policy.DNS.Deny = domainList.Draw(t, "allow"), domainList.Draw(t, "deny")
		s.Policy.IP.Allow, s.Policy.IP.Deny = rangeList.Draw(t, "allow IPs"), rangeList.Draw(t, "deny IPs")
	})
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

// Who may have a wildcard could have each single name that it covers: it opens nothing that is closed.
func TestWildcardsOpenNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, _ := drawPolicy(t)
		for _, base := range []string{"test", "a.test", "b.test", "a.b.test", "svc.test"} {
			for _, label := range []string{"a", "b", "svc"} {
				if single := label + "." + base; allowed(p, dns("*."+base)) && !allowed(p, dns(single)) {
					t.Fatalf("*.%s is allowed, and %s isn't", base, single)
				}
			}
		}
	})
}

// A denial allows nothing more, and a denied identifier stays denied, whatever is allowed.
func TestDenialsWin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, s := drawPolicy(t)
		value := rapid.SampledFrom([]string{"", "*."}).Draw(t, "wildcard") + anyName.Draw(t, "name")
		before := allowed(p, dns(value))
		s.Policy.DNS.Deny = append(slices.Clone(s.Policy.DNS.Deny), aListed.Draw(t, "one more"))
		narrower, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		after := allowed(narrower, dns(value))
		if after && !before {
			t.Fatalf("a denial has opened %s", value)
		}
		denied := strings.TrimPrefix(s.Policy.DNS.Deny[len(s.Policy.DNS.Deny)-1], ".")
		if after && strings.HasSuffix(value, "."+denied) && !strings.HasPrefix(value, "*.") {
			t.Fatalf("%s is below what was denied", value)
		}
	})
}

// An external account binding lets an account have less than the issuer allows, never more.
func TestBindingsNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, _ := drawPolicy(t)
		bound := p.For(&v1alpha1.ExternalAccountPolicy{DNS: domainList.Draw(t, "bound names"), IPs: rangeList.Draw(t, "bound ranges")})
		for _, id := range []acme.Identifier{dns(anyName.Draw(t, "name")), dns("*." + anyName.Draw(t, "base")), {Type: acme.IP, Value: someAddress.Draw(t, "address")}} {
			if allowed(bound, id) && !allowed(p, id) {
				t.Fatalf("the binding opens %s", id.Value)
			}
		}
	})
}

// An address is certified where a range allows it and none denies it, and nowhere else.
func TestAddressesByRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, s := drawPolicy(t)
		address := someAddress.Draw(t, "address")
		in := func(list []string) bool {
			return slices.ContainsFunc(list, func(r string) bool { return netip.MustParsePrefix(r).Contains(netip.MustParseAddr(address)) })
		}
		if got, want := allowed(p, acme.Identifier{Type: acme.IP, Value: address}), in(s.Policy.IP.Allow) && !in(s.Policy.IP.Deny); got != want {
			t.Fatalf("%s: %v, want %v", address, got, want)
		}
	})
}

// FuzzParseBinding looks for panics, and for policies that don't read back as they were read.
func FuzzParseBinding(f *testing.F) {
	f.Add("Team-A.example,\n.b.example", "10.1.2.3/8 fd00::/8", "short")
	f.Add("*.example", "10.0.0.1", "")
	f.Add("\x00..", "::ffff:10.0.0.0/104", " , ")
	f.Fuzz(func(t *testing.T, names, ranges, profiles string) {
		parsed, err := ParseBinding(names, ranges, profiles)
		if err != nil || parsed == nil {
			return
		}
		again, err := ParseBinding(strings.Join(parsed.DNS, ","), strings.Join(parsed.IPs, " "), strings.Join(parsed.Profiles, "\n"))
		if err != nil || !reflect.DeepEqual(again, parsed) {
			t.Fatalf("%+v, and then %+v with %v", parsed, again, err)
		}
	})
}
