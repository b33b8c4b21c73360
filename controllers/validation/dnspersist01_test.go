package validation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

const hashPrefix = "https://ca.test/acme/account-hash/"

// persistRequest returns the request of an account with a former key and a second URL.
func persistRequest(name string) Request {
	r := dnsRequest(acme.DNSPersist01, name)
	r.Token = ""
	r.AccountURIs = append(r.AccountURIs, "https://ca.example/acme/acct/1")
	r.FormerThumbprints = []string{"former"}
	r.HashPrefixes = []string{hashPrefix, "https://ca.example/acme/account-hash/"}
	return r
}

func persistURI(domain, thumbprint, account string) string {
	return acme.HashedAccountURI(hashPrefix, domain, thumbprint, account)
}

func TestDNSPersist01(t *testing.T) {
	const acct = "https://ca.test/acme/acct/1"
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	mine := persistURI("a.test", testThumbprint, acct)
	valid := "ca.test; accounturi=" + mine
	until := func(t time.Time) string { return fmt.Sprint(valid, "; persistUntil=", t.Unix()) }
	malformed := func(detail string) expectation { return expectation{problem: acme.Malformed, detail: detail} }
	unauthorized := func(detail string) expectation {
		return expectation{problem: acme.Unauthorized, detail: detail}
	}
	another := unauthorized("names another account")
	for name, c := range map[string]struct {
		values   []string
		wildcard bool
		want     expectation
		until    time.Time
	}{
		"the account":                     {values: []string{valid}},
		"without blanks":                  {values: []string{"ca.test;accounturi=" + mine}},
		"the CA in another case":          {values: []string{"CA.Test; AccountURI=" + mine}},
		"the CA's other name":             {values: []string{"ca.example; accounturi=" + mine}},
		"among others":                    {values: []string{"v=spf1 -all", "x.test; accounturi=" + mine, "ca.test", valid}},
		"an unknown parameter":            {values: []string{valid + "; future=1; future=2"}},
		"by another of its URLs":          {values: []string{"ca.test; accounturi=" + persistURI("a.test", testThumbprint, "https://ca.example/acme/acct/1")}},
		"with another prefix":             {values: []string{"ca.test; accounturi=" + acme.HashedAccountURI("https://ca.example/acme/account-hash/", "a.test", testThumbprint, acct)}},
		"with a key that it had":          {values: []string{"ca.test; accounturi=" + persistURI("a.test", "former", acct)}},
		"for any domain":                  {values: []string{"ca.test; accounturi=" + persistURI("*", testThumbprint, acct)}},
		"a policy that isn't known":       {values: []string{valid + "; policy=future"}},
		"a wildcard":                      {values: []string{valid + "; policy=Wildcard"}, wildcard: true},
		"a policy that isn't needed":      {values: []string{valid + "; policy=wildcard"}},
		"until now":                       {values: []string{until(now)}, until: now},
		"until later":                     {values: []string{until(now.Add(time.Hour))}, until: now.Add(time.Hour)},
		"until the latest of all":         {values: []string{until(now.Add(time.Hour)), until(now.Add(2 * time.Hour)), until(now)}, until: now.Add(2 * time.Hour)},
		"for ever, and until":             {values: []string{until(now.Add(time.Hour)), valid}},
		"until further than years go":     {values: []string{valid + "; persistUntil=253402300800"}},
		"no record names this CA":         {values: []string{"x.test; accounturi=" + mine, ""}, want: unauthorized("none of the 2 TXT records")},
		"this CA's name as a part":        {values: []string{"xca.test; accounturi=" + mine}, want: unauthorized("names this CA")},
		"another account":                 {values: []string{"ca.test; accounturi=" + persistURI("a.test", testThumbprint, acct+"2")}, want: another},
		"another key":                     {values: []string{"ca.test; accounturi=" + persistURI("a.test", "other", acct)}, want: another},
		"another domain":                  {values: []string{"ca.test; accounturi=" + persistURI("b.test", testThumbprint, acct)}, want: another},
		"another case of the account":     {values: []string{"ca.test; accounturi=" + hashPrefix + "sha-256/" + strings.ToUpper(mine[len(hashPrefix+"sha-256/"):])}, want: another},
		"over":                            {values: []string{until(now.Add(-time.Second))}, want: unauthorized("expired at 2026-10-01T11:59:59Z")},
		"a wildcard without the policy":   {values: []string{valid}, wildcard: true, want: unauthorized("no policy=wildcard")},
		"a wildcard with another policy":  {values: []string{valid + "; policy=wildcards"}, wildcard: true, want: unauthorized("no policy=wildcard")},
		"each has half of what is needed": {values: []string{valid, "ca.test; policy=wildcard; accounturi=" + persistURI("b.test", testThumbprint, acct)}, wildcard: true, want: unauthorized("")},
		"the account's URL itself":        {values: []string{"ca.test; accounturi=" + acct}, want: malformed("such as " + hashPrefix)},
		"another hash":                    {values: []string{"ca.test; accounturi=" + strings.Replace(mine, "sha-256", "sha-512", 1)}, want: malformed("not a hashed account URI")},
		"a short hash":                    {values: []string{"ca.test; accounturi=" + mine[:len(mine)-1]}, want: malformed("not a hashed account URI")},
		"an odd hash":                     {values: []string{"ca.test; accounturi=" + mine[:len(mine)-1] + "="}, want: malformed("not a hashed account URI")},
		"another CA's prefix":             {values: []string{"ca.test; accounturi=" + strings.Replace(mine, "ca.test", "evil.test", 1)}, want: malformed("not a hashed account URI")},
		"no account":                      {values: []string{"ca.test; policy=wildcard"}, want: malformed("no accounturi")},
		"nothing but the CA":              {values: []string{"ca.test"}, want: malformed("no accounturi")},
		"two accounts":                    {values: []string{valid + "; accounturi=" + mine}, want: malformed(" twice")},
		"two times":                       {values: []string{until(now) + "; PersistUntil=1"}, want: malformed(" twice")},
		"two policies":                    {values: []string{valid + "; policy=wildcard; policy=wildcard"}, want: malformed(" twice")},
		"a time that is no number":        {values: []string{valid + "; persistUntil=2026-10-01"}, want: malformed("persistUntil")},
		"a negative time":                 {values: []string{valid + "; persistUntil=-1"}, want: malformed("persistUntil")},
		"an empty time":                   {values: []string{valid + "; persistUntil="}, want: malformed("persistUntil")},
		"a huge time":                     {values: []string{valid + "; persistUntil=" + strings.Repeat("9", 40)}, want: malformed("persistUntil")},
		"broken syntax":                   {values: []string{valid + "; %%"}, want: malformed("issue-value")},
	} {
		t.Run(name, func(t *testing.T) {
			var zone []string
			for _, value := range c.values {
				zone = append(zone, persistTXT("a.test", value))
			}
			w := newWorld(t, zone...)
			w.config.CAAIdentities = []string{"ca.test", "ca.example"}
			w.config.Now = func() time.Time { return now }
			request := persistRequest("a.test")
			request.Wildcard = c.wildcard
			got := w.validator().Validate(t.Context(), request)
			c.want.check(t, got)
			if !got.Until.Equal(c.until) {
				t.Errorf("until %v, want %v", got.Until, c.until)
			}
			equal(t, "dials", w.dials, nil)
		})
	}
}

// persistTXT returns a record as a line of a zone file, in strings of 100 bytes.
func persistTXT(domain, value string) string {
	line := "_validation-persist." + domain + ". TXT"
	for len(value) > 100 {
		line += fmt.Sprintf(" %q", value[:100])
		value = value[100:]
	}
	return line + fmt.Sprintf(" %q", value)
}

func TestDNSPersist01WithoutRecords(t *testing.T) {
	for name, c := range map[string]struct {
		zone []string
		want expectation
	}{
		"NXDOMAIN":   {nil, expectation{problem: acme.DNSProblem, detail: "NXDOMAIN", transient: true}},
		"no TXT":     {[]string{"_validation-persist.a.test. A 192.0.2.1"}, expectation{problem: acme.Unauthorized, detail: "no TXT", transient: true}},
		"a CNAME":    {[]string{"_validation-persist.a.test. CNAME b.test.", `b.test. TXT "x"`}, expectation{problem: acme.Unauthorized, detail: "names this CA"}},
		"at dns-01s": {[]string{`_acme-challenge.a.test. TXT "x"`}, expectation{problem: acme.DNSProblem, transient: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.check(t, newWorld(t, c.zone...).validator().Validate(t.Context(), persistRequest("a.test")))
		})
	}
	w := newWorld(t)
	w.config.Resolvers = []string{networktest.Serve(t, networktest.Rcode(dns.RcodeServerFailure))}
	expectation{problem: acme.DNSProblem, transient: true, detail: "SERVFAIL"}.
		check(t, w.validator().Validate(t.Context(), persistRequest("a.test")))
}

// No record can name a CA without identities or hash prefixes.
func TestDNSPersist01WithoutANameOrPrefix(t *testing.T) {
	record := persistTXT("a.test", "ca.test; accounturi="+persistURI("a.test", testThumbprint, "https://ca.test/acme/acct/1"))
	expectation{problem: acme.Unauthorized}.check(t, newWorld(t, record, persistTXT("a.test", "; accounturi=x")).validator().Validate(t.Context(), persistRequest("a.test")))
	w := newWorld(t, record)
	w.config.CAAIdentities = []string{"ca.test"}
	request := persistRequest("a.test")
	request.HashPrefixes = nil
	expectation{problem: acme.Malformed}.check(t, w.validator().Validate(t.Context(), request))
}

// CAA applies too, and a proof that CAA forbids has no expiry.
func TestDNSPersist01AndCAA(t *testing.T) {
	w := newWorld(t, persistTXT("a.test", "ca.test; persistUntil=253402300798; accounturi="+persistURI("a.test", testThumbprint, "https://ca.test/acme/acct/1")),
		`a.test. CAA 0 issue "ca.test; validationmethods=dns-01"`)
	w.config.CAA, w.config.CAAIdentities = true, []string{"ca.test"}
	got := w.validator().Validate(t.Context(), persistRequest("a.test"))
	expectation{problem: acme.CAA}.check(t, got)
	if !got.Until.IsZero() {
		t.Error("a refused proof has a time")
	}
}

func FuzzPersistRecord(f *testing.F) {
	f.Add("ca.test; accounturi=" + persistURI("a.test", testThumbprint, "https://ca.test/acme/acct/1") + "; policy=wildcard; persistUntil=1")
	f.Add("ca.test;;")
	a := &attempt{Validator: &Validator{caaIdentities: []string{"ca.test"}, now: time.Now}, req: persistRequest("a.test")}
	f.Fuzz(func(t *testing.T, text string) {
		p, named, failed := a.parsePersist(text)
		if failed != nil && (!named || failed.problem.Detail == "") {
			t.Errorf("%q fails without being ours", text)
		}
		if named && failed == nil && (len(p.account) != len("sha-256/")+hashLength || p.until.Year() > 9999) {
			t.Errorf("%q gives %+v", text, p)
		}
	})
}
