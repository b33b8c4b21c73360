package acme

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNormalize(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) // 192 bytes
	for _, c := range []struct {
		kind  IdentifierType
		value string
		want  string // "" for refused
		fault string
	}{
		{DNS, "example.test", "example.test", ""},
		{DNS, "EXAMPLE.Test", "example.test", ""},
		{DNS, "*.Example.test", "*.example.test", ""},
		{DNS, "single", "single", ""},
		{DNS, "1.2.example", "1.2.example", ""},
		{DNS, "xn--bcher-kva.test", "xn--bcher-kva.test", ""},
		{DNS, long + strings.Repeat("a", 61), long + strings.Repeat("a", 61), ""},
		{DNS, long + strings.Repeat("a", 62), "", "longer than 253"},
		{DNS, strings.Repeat("a", 64) + ".test", "", "longer than 63"},
		{DNS, "", "", "empty name"},
		{DNS, "*.", "", "empty name"},
		{DNS, ".test", "", "empty label"},
		{DNS, "a..test", "", "empty label"},
		{DNS, "a.test.", "", "ends in a dot"},
		{DNS, "-a.test", "", "hyphen"},
		{DNS, "a-.test", "", "hyphen"},
		{DNS, "ab--c.test", "", "third and fourth"},
		{DNS, "a_b.test", "", "letters, digits and hyphens"},
		{DNS, "bücher.test", "", "A-label"},
		{DNS, "\u212aelvin.test", "", "A-label"}, // the Kelvin sign becomes a k in Unicode's lower case
		{DNS, "a b.test", "", "letters"},
		{DNS, "a\n.test", "", "letters"},
		{DNS, "a.*.test", "", "wildcard"},
		{DNS, "*.*.test", "", "wildcard"},
		{DNS, "*", "", "wildcard"},
		{DNS, "*a.test", "", "letters"},
		{DNS, "a.123", "", "all-numeric"},
		{DNS, "192.0.2.1", "", "IP address"},
		{DNS, "*.192.0.2.1", "", "IP address"},
		{DNS, "::1", "", "IP address"},
		{IP, "192.0.2.1", "192.0.2.1", ""},
		{IP, "2001:DB8:0:0::1", "2001:db8::1", ""},
		{IP, "192.0.2.01", "", "not an IP address"},
		{IP, "192.0.2", "", "not an IP address"},
		{IP, "::ffff:192.0.2.1", "", "IPv4-mapped"},
		{IP, "fe80::1%eth0", "", "not an IP address"},
		{IP, "example.test", "", "not an IP address"},
		{"email", "a@b.test", "", "not supported"},
		{"", "", "", "not supported"},
	} {
		got, problem := Identifier{c.kind, c.value}.Normalize()
		if c.want != "" && (problem != nil || got != Identifier{c.kind, c.want}) {
			t.Errorf("%s %q: %v, %v", c.kind, c.value, got, problem)
		}
		if c.want == "" && (problem == nil || !strings.Contains(problem.Detail, c.fault)) {
			t.Errorf("%s %q: %v, want a fault with %q", c.kind, c.value, problem, c.fault)
		}
		if problem != nil && (problem.Identifier == nil || problem.Identifier.Value != Printable(c.value, MaxNameLength)) {
			t.Errorf("%s %q: the problem is about %v", c.kind, c.value, problem.Identifier)
		}
	}
}

func TestWildcardsAndTheirBase(t *testing.T) {
	for _, c := range []struct {
		id       Identifier
		wildcard bool
		base     string
	}{
		{Identifier{DNS, "*.a.test"}, true, "a.test"},
		{Identifier{DNS, "a.test"}, false, "a.test"},
		{Identifier{IP, "*.1"}, false, "*.1"},
	} {
		if c.id.Wildcard() != c.wildcard || c.id.Base().Value != c.base {
			t.Errorf("%v: %v, %v", c.id, c.id.Wildcard(), c.id.Base())
		}
	}
}

// The normal form of an address is what netip writes, and of every form that netip reads there is one.
func TestNormalizeAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address, ok := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))
		if !ok || address.Is4In6() {
			return
		}
		for _, text := range []string{address.String(), address.StringExpanded(), strings.ToUpper(address.String())} {
			got, problem := Identifier{IP, text}.Normalize()
			if problem != nil || got.Value != address.String() {
				t.Fatalf("%s: %v, %v", text, got, problem)
			}
		}
	})
}

// Whatever gets through is in its normal form, and fit to be shown, stored and put into a certificate.
func FuzzNormalize(f *testing.F) {
	for _, value := range []string{"example.test", "*.example.test", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.test", "a_b", "\x00"} {
		f.Add(string(DNS), value)
		f.Add(string(IP), value)
	}
	f.Fuzz(func(t *testing.T, kind, value string) {
		got, problem := Identifier{IdentifierType(kind), value}.Normalize()
		if problem != nil {
			if len(problem.Detail) > MaxDetail || Printable(problem.Detail, MaxDetail) != problem.Detail {
				t.Fatalf("detail %q", problem.Detail)
			}
			return
		}
		if again, problem := got.Normalize(); problem != nil || again != got {
			t.Fatalf("%q became %v and then %v, %v", value, got, again, problem)
		}
		if len(got.Value) > MaxNameLength+len(wildcardPrefix) || Printable(got.Value, 300) != got.Value || strings.ToLower(got.Value) != got.Value {
			t.Fatalf("%q is %q", value, got.Value)
		}
	})
}
