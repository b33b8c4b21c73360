package grants

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var (
	now    = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	teamA  = account("account-a", "team-a")
	single = account("account-b", "")
)

func account(name, key string) *v1alpha1.AcmeAccount {
	a := &v1alpha1.AcmeAccount{Status: v1alpha1.AcmeAccountStatus{ExternalAccountKeyID: key}}
	a.Name = name
	return a
}

func dns(name string) acme.Identifier { return acme.Identifier{Type: acme.DNS, Value: name} }

func ip(address string) acme.Identifier { return acme.Identifier{Type: acme.IP, Value: address} }

// set returns the grants of an issuer with the profiles "default" and "long".
func set(grants ...v1alpha1.Grant) *Set {
	return New(&v1alpha1.AcmeIssuerSpec{Grants: grants, Profiles: []v1alpha1.Profile{{Name: "default"}, {Name: "long"}}}, "default")
}

func TestFind(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	keys := []string{"team-a"}
	names := func(patterns ...string) v1alpha1.Grant {
		return v1alpha1.Grant{ExternalAccountKeys: keys, DNS: patterns}
	}
	ips := func(ranges ...string) v1alpha1.Grant { return v1alpha1.Grant{ExternalAccountKeys: keys, IPs: ranges} }
	for name, c := range map[string]struct {
		grant   v1alpha1.Grant
		account *v1alpha1.AcmeAccount
		id      acme.Identifier
		profile string
		want    bool
	}{
		"a name":                                {names("db.corp.test"), teamA, dns("db.corp.test"), "", true},
		"a name of another case":                {names("DB.corp.test"), teamA, dns("db.corp.test"), "", true},
		"an A-label":                            {names("xn--bcher-kva.test"), teamA, dns("xn--bcher-kva.test"), "", true},
		"a name below a name":                   {names("db.corp.test"), teamA, dns("x.db.corp.test"), "", false},
		"a name that ends alike":                {names("db.corp.test"), teamA, dns("mydb.corp.test"), "", false},
		"the wildcard below a name":             {names("db.corp.test"), teamA, dns("*.db.corp.test"), "", false},
		"a name below a domain":                 {names(".corp.test"), teamA, dns("db.corp.test"), "", true},
		"a name far below a domain":             {names(".corp.test"), teamA, dns("a.b.c.corp.test"), "", true},
		"the domain itself":                     {names(".corp.test"), teamA, dns("corp.test"), "", false},
		"a domain that ends alike":              {names(".corp.test"), teamA, dns("db.mycorp.test"), "", false},
		"a domain above":                        {names(".a.corp.test"), teamA, dns("corp.test"), "", false},
		"the wildcard below a domain":           {names(".corp.test"), teamA, dns("*.corp.test"), "", false},
		"a wildcard far below a domain":         {names(".corp.test"), teamA, dns("*.db.corp.test"), "", false},
		"a wildcard":                            {names("*.corp.test"), teamA, dns("*.corp.test"), "", true},
		"a name that a wildcard stands for":     {names("*.corp.test"), teamA, dns("db.corp.test"), "", false},
		"a wildcard below a wildcard":           {names("*.corp.test"), teamA, dns("*.db.corp.test"), "", false},
		"the second pattern":                    {names("a.test", ".corp.test"), teamA, dns("db.corp.test"), "", true},
		"no pattern":                            {names(), teamA, dns("db.corp.test"), "", false},
		"an address in a range":                 {ips("10.1.0.0/16"), teamA, ip("10.1.2.3"), "", true},
		"an address outside":                    {ips("10.1.0.0/16"), teamA, ip("10.2.0.1"), "", false},
		"an IPv6 address":                       {ips("2001:db8::/32"), teamA, ip("2001:db8::1"), "", true},
		"an IPv4 address in an IPv6 range":      {ips("::/0"), teamA, ip("10.1.2.3"), "", false},
		"an address for names":                  {names(".corp.test"), teamA, ip("10.1.2.3"), "", false},
		"a name for addresses":                  {ips("0.0.0.0/0"), teamA, dns("corp.test"), "", false},
		"everything, a wildcard":                {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true}, teamA, dns("*.any.test"), "", true},
		"everything, an address":                {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true}, teamA, ip("192.0.2.1"), "", true},
		"everything to nobody":                  {v1alpha1.Grant{AllIdentifiers: true}, teamA, dns("any.test"), "", false},
		"everything to nobody, without a key":   {v1alpha1.Grant{AllIdentifiers: true}, single, dns("any.test"), "", false},
		"an empty key, an account without key":  {v1alpha1.Grant{ExternalAccountKeys: []string{""}, AllIdentifiers: true}, single, dns("any.test"), "", false},
		"another key":                           {v1alpha1.Grant{ExternalAccountKeys: []string{"team-b"}, AllIdentifiers: true}, teamA, dns("any.test"), "", false},
		"an account":                            {v1alpha1.Grant{Accounts: []string{"account-b"}, AllIdentifiers: true}, single, dns("any.test"), "", true},
		"another account":                       {v1alpha1.Grant{Accounts: []string{"account-b"}, AllIdentifiers: true}, teamA, dns("any.test"), "", false},
		"an account named as the key":           {v1alpha1.Grant{Accounts: []string{"team-a"}, AllIdentifiers: true}, teamA, dns("any.test"), "", false},
		"no account":                            {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true}, nil, dns("any.test"), "", false},
		"another profile than the default":      {names("db.corp.test"), teamA, dns("db.corp.test"), "long", false},
		"a profile":                             {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true, Profiles: []string{"long"}}, teamA, dns("a.test"), "long", true},
		"the default profile, which is missing": {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true, Profiles: []string{"long"}}, teamA, dns("a.test"), "", false},
		"before its end":                        {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true, Expires: at(time.Second)}, teamA, dns("a.test"), "", true},
		"at its end":                            {v1alpha1.Grant{ExternalAccountKeys: keys, AllIdentifiers: true, Expires: at(0)}, teamA, dns("a.test"), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.grant.Name = "it"
			if c.profile == "" {
				c.profile = "default"
			}
			s := set(v1alpha1.Grant{Name: "other"}, c.grant)
			if len(s.Faults()) > 0 {
				t.Fatal(s.Faults())
			}
			request := Request{Account: c.account, Identifier: c.id, Profile: c.profile, Now: now}
			if got := s.Find(request) == "it"; got != c.want {
				t.Errorf("found: %v", got)
			}
			if reason := s.Refusal("it", request); (reason == "") != c.want {
				t.Errorf("refused: %q", reason)
			}
		})
	}
}

// The parts of one grant don't add to those of another.
func TestGrantsDoNotMix(t *testing.T) {
	s := set(
		v1alpha1.Grant{Name: "names", ExternalAccountKeys: []string{"team-b"}, DNS: []string{".corp.test"}},
		v1alpha1.Grant{Name: "account", ExternalAccountKeys: []string{"team-a"}, DNS: []string{"other.test"}},
	)
	request := Request{Account: teamA, Identifier: dns("db.corp.test"), Profile: "default", Now: now}
	if got := s.Find(request); got != "" {
		t.Errorf("found %q", got)
	}
	if got := s.Refusal("nowhere", request); got != "the issuer has no such grant" {
		t.Errorf("%q", got)
	}
}

func TestFaults(t *testing.T) {
	for want, g := range map[string]v1alpha1.Grant{
		"spec.grants[1].dns[0]:":      {DNS: []string{"corp.test."}},
		"spec.grants[1].dns[1]:":      {DNS: []string{"a.test", "b..test"}},
		"spec.grants[1].dns[0]: \".*": {DNS: []string{".*.corp.test"}},
		"spec.grants[1].ips[0]:":      {IPs: []string{"10.0.0.0/33"}},
		"has bits beyond its length":  {IPs: []string{"10.0.0.1/8"}},
		"there is no profile \"x\"":   {Profiles: []string{"x"}},
	} {
		t.Run(want, func(t *testing.T) {
			g.Name, g.ExternalAccountKeys = "it", []string{"team-a"}
			g.AllIdentifiers = true
			good := v1alpha1.Grant{Name: "good", ExternalAccountKeys: []string{"team-a"}, DNS: []string{"a.test"}}
			s := set(good, g)
			if faults := s.Faults(); len(faults) != 1 || !strings.Contains(faults[0], want) {
				t.Errorf("%q", faults)
			}
			request := Request{Account: teamA, Identifier: dns("b.test"), Profile: "default", Now: now}
			if got := s.Find(request); got != "" {
				t.Errorf("an invalid grant grants: %q", got)
			}
			request.Identifier = dns("a.test")
			if got := s.Find(request); got != "good" {
				t.Errorf("the grant beside it: %q", got)
			}
		})
	}
}

func TestNarrowed(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	full := v1alpha1.Grant{
		Name: "it", ExternalAccountKeys: []string{"a", "b"}, Accounts: []string{"c"}, DNS: []string{"d", "e"}, IPs: []string{"f"},
		AllIdentifiers: true, Profiles: []string{"g"}, Expires: at(time.Hour),
	}
	for name, c := range map[string]struct {
		change func(g *v1alpha1.Grant)
		want   []string
	}{
		"unchanged":                      {func(*v1alpha1.Grant) {}, nil},
		"another order":                  {func(g *v1alpha1.Grant) { g.DNS = []string{"e", "d"} }, nil},
		"a name more":                    {func(g *v1alpha1.Grant) { g.DNS = append(g.DNS, "x") }, nil},
		"a longer time":                  {func(g *v1alpha1.Grant) { g.Expires = at(2 * time.Hour) }, nil},
		"no end":                         {func(g *v1alpha1.Grant) { g.Expires = nil }, nil},
		"a shorter time":                 {func(g *v1alpha1.Grant) { g.Expires = at(time.Minute) }, []string{"it"}},
		"a name less":                    {func(g *v1alpha1.Grant) { g.DNS = []string{"d"} }, []string{"it"}},
		"a range less":                   {func(g *v1alpha1.Grant) { g.IPs = nil }, []string{"it"}},
		"a key less":                     {func(g *v1alpha1.Grant) { g.ExternalAccountKeys = []string{"b"} }, []string{"it"}},
		"an account less":                {func(g *v1alpha1.Grant) { g.Accounts = nil }, []string{"it"}},
		"another profile":                {func(g *v1alpha1.Grant) { g.Profiles = []string{"h"} }, []string{"it"}},
		"not everything":                 {func(g *v1alpha1.Grant) { g.AllIdentifiers = false }, []string{"it"}},
		"removed, and another one added": {func(g *v1alpha1.Grant) { g.Name = "new" }, []string{"it"}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := *full.DeepCopy()
			c.change(&changed)
			if diff := cmp.Diff(c.want, Narrowed([]v1alpha1.Grant{full}, []v1alpha1.Grant{changed})); diff != "" {
				t.Error(diff)
			}
		})
	}
	noProfiles := full
	noProfiles.Profiles = nil
	if got := Narrowed([]v1alpha1.Grant{noProfiles}, []v1alpha1.Grant{full}); len(got) != 1 {
		t.Errorf("the default profile was taken back: %q", got)
	}
}

// FuzzGrant compares the grants with the documentation of the patterns, read in the simplest way. An identifier is compared
// in normalized form.
func FuzzGrant(f *testing.F) {
	for _, seed := range [][2]string{
		{"db.corp.test", "db.corp.test"}, {".corp.test", "DB.corp.test"}, {"*.corp.test", "*.corp.test"}, {".corp.test", "*.corp.test"},
		{"*", "x"}, {".", "x"}, {"", ""}, {"..test", "a.test"}, {".*.test", "a.b.test"}, {"*.*.test", "*.a.test"}, {"corp.test.", "corp.test"},
		{".xn--bcher-kva.test", "a.xn--bcher-kva.test"}, {".bücher.test", "a.xn--bcher-kva.test"}, {"corp.test", "corp.test."},
		{".test", "a.test\x00.test"}, {".10", "1.10"}, {".İ.test", "a.i̇.test"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		id, problem := dns(name).Normalize()
		if problem != nil {
			return
		}
		s := set(v1alpha1.Grant{Name: "it", ExternalAccountKeys: []string{"team-a"}, DNS: []string{pattern}})
		got := s.Find(Request{Account: teamA, Identifier: id, Profile: "default", Now: now}) != ""
		lower := strings.ToLower(pattern)
		exact := lower == id.Value
		below := strings.HasPrefix(lower, ".") && !strings.HasPrefix(id.Value, "*") && strings.HasSuffix(id.Value, lower) && len(lower) > 1
		if got && !exact && !below {
			t.Errorf("%q grants %q", pattern, id.Value)
		}
		if !got && len(s.Faults()) == 0 && (exact || below) {
			t.Errorf("%q does not grant %q", pattern, id.Value)
		}
		if got && strings.HasPrefix(id.Value, "*") && pattern[0] != '*' {
			t.Errorf("%q grants the wildcard %q", pattern, id.Value)
		}
	})
}
