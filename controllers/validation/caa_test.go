package validation

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

func TestCheckCAA(t *testing.T) {
	ok := expectation{}
	no := expectation{problem: acme.CAA, detail: "no record permits this CA"}
	acct := "https://ca.test/acme/acct/1"
	for name, c := range map[string]struct {
		zone     []string
		wildcard bool
		want     expectation
	}{
		"none":                        {nil, false, ok},
		"this CA":                     {[]string{`a.b.test. CAA 0 issue "ca.test"`}, false, ok},
		"this CA in another case":     {[]string{`a.b.test. CAA 0 ISSUE "CA.Test"`}, false, ok},
		"this CA's other name":        {[]string{`a.b.test. CAA 0 issue "ca.example"`}, false, ok},
		"with blanks":                 {[]string{`a.b.test. CAA 0 issue " ca.test ; "`}, false, ok},
		"critical":                    {[]string{`a.b.test. CAA 128 issue "ca.test"`}, false, ok},
		"among others":                {[]string{`a.b.test. CAA 0 issue "x.test"`, `a.b.test. CAA 0 issue "ca.test"`}, false, ok},
		"another CA":                  {[]string{`a.b.test. CAA 0 issue "x.test"`}, false, no},
		"no CA":                       {[]string{`a.b.test. CAA 0 issue ";"`}, false, no},
		"an empty value":              {[]string{`a.b.test. CAA 0 issue ""`}, false, no},
		"a CA with ours at its end":   {[]string{`a.b.test. CAA 0 issue "xca.test"`}, false, no},
		"malformed":                   {[]string{`a.b.test. CAA 0 issue "ca.test; %%"`}, false, no},
		"a byte beyond ASCII":         {[]string{`a.b.test. CAA 0 issue "ca.test; x=\233"`}, false, no},
		"only iodef":                  {[]string{`a.b.test. CAA 0 iodef "mailto:x@b.test"`}, false, ok},
		"an unknown tag":              {[]string{`a.b.test. CAA 0 future "x"`}, false, ok},
		"an unknown critical tag":     {[]string{`a.b.test. CAA 128 future "x"`, `a.b.test. CAA 0 issue "ca.test"`}, false, expectation{problem: acme.CAA, detail: `critical tag "future"`}},
		"at the parent":               {[]string{`b.test. CAA 0 issue "x.test"`}, false, no},
		"at the top":                  {[]string{`test. CAA 0 issue "x.test"`}, false, no},
		"nearest counts":              {[]string{`a.b.test. CAA 0 issue "ca.test"`, `b.test. CAA 0 issue "x.test"`}, false, ok},
		"nearest counts, if closed":   {[]string{`a.b.test. CAA 0 issue "x.test"`, `b.test. CAA 0 issue "ca.test"`}, false, no},
		"nearest without issue":       {[]string{`a.b.test. CAA 0 iodef "mailto:x@b.test"`, `b.test. CAA 0 issue "x.test"`}, false, ok},
		"by CNAME":                    {[]string{"a.b.test. CNAME c.d.test.", `c.d.test. CAA 0 issue "x.test"`}, false, no},
		"not above the CNAME's end":   {[]string{"a.b.test. CNAME c.d.test.", "c.d.test. A 192.0.2.1", `d.test. CAA 0 issue "x.test"`}, false, ok},
		"above a CNAME to nowhere":    {[]string{"a.b.test. CNAME gone.test.", `b.test. CAA 0 issue "x.test"`}, false, no},
		"a CNAME loop":                {[]string{"a.b.test. CNAME b.test.", "b.test. CNAME a.b.test."}, false, expectation{problem: acme.DNSProblem, detail: "loop"}},
		"a wildcard, by issue":        {[]string{`a.b.test. CAA 0 issue "ca.test"`}, true, ok},
		"a wildcard, not by issue":    {[]string{`a.b.test. CAA 0 issue "x.test"`}, true, no},
		"a wildcard, by issuewild":    {[]string{`a.b.test. CAA 0 issuewild "ca.test"`, `a.b.test. CAA 0 issue "x.test"`}, true, ok},
		"a wildcard, not by it":       {[]string{`a.b.test. CAA 0 issuewild ";"`, `a.b.test. CAA 0 issue "ca.test"`}, true, no},
		"a name, whatever issuewild":  {[]string{`a.b.test. CAA 0 issuewild ";"`, `a.b.test. CAA 0 issue "ca.test"`}, false, ok},
		"a name, with only issuewild": {[]string{`a.b.test. CAA 0 issuewild ";"`}, false, ok},
		"the account":                 {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=` + acct + `"`}, false, ok},
		"another account":             {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=` + acct + `2"`}, false, no},
		"the account in upper case":   {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=` + strings.ToUpper(acct) + `"`}, false, no},
		"the account, twice":          {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=` + acct + `; accounturi=` + acct + `"`}, false, no},
		"an empty account":            {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi="`}, false, no},
		"two records, two accounts":   {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=x"`, `a.b.test. CAA 0 issue "ca.test; accounturi=` + acct + `"`}, false, ok},
		"the method":                  {[]string{`a.b.test. CAA 0 issue "ca.test; ValidationMethods=http-01,dns-01"`}, false, ok},
		"another method":              {[]string{`a.b.test. CAA 0 issue "ca.test; validationmethods=http-01"`}, false, no},
		"no method":                   {[]string{`a.b.test. CAA 0 issue "ca.test; validationmethods="`}, false, no},
		"the method, twice":           {[]string{`a.b.test. CAA 0 issue "ca.test;validationmethods=dns-01;validationmethods=dns-01"`}, false, no},
		"account and method":          {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=` + acct + `; validationmethods=dns-01"`}, false, ok},
		"account but not method":      {[]string{`a.b.test. CAA 0 issue "ca.test; accounturi=` + acct + `; validationmethods=tls-alpn-01"`}, false, no},
		"an unknown parameter":        {[]string{`a.b.test. CAA 0 issue "ca.test; policy=ev"`}, false, ok},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.zone...)
			w.config.CAA, w.config.CAAIdentities = true, []string{"CA.test", "ca.example."}
			request := dnsRequest(acme.DNS01, "a.b.test")
			request.Wildcard = c.wildcard
			request.Token, request.Thumbprint = "", "" // not needed here
			c.want.check(t, w.validator().CheckCAA(t.Context(), request))
		})
	}
}

func TestCheckCAAWithoutIdentity(t *testing.T) {
	w := newWorld(t, `a.test. CAA 0 issue "ca.test"`, `b.test. CAA 0 issue ""`)
	w.config.CAA = true
	for name, want := range map[string]expectation{"a.test": {problem: acme.CAA}, "b.test": {problem: acme.CAA}, "c.test": {}} {
		want.check(t, w.validator().CheckCAA(t.Context(), dnsRequest(acme.HTTP01, name)))
	}
}

// A failed lookup is not an empty answer: Let's Encrypt had to revoke millions of certificates for a lesser fault.
func TestCheckCAAFailsClosed(t *testing.T) {
	parentFails := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "test." {
			networktest.Rcode(dns.RcodeServerFailure)(w, q)
			return
		}
		networktest.Zone(t)(w, q)
	}
	for name, c := range map[string]struct {
		handler dns.HandlerFunc
		want    expectation
	}{
		"SERVFAIL":                {networktest.Rcode(dns.RcodeServerFailure), expectation{problem: acme.DNSProblem, transient: true, detail: `CAA of "a.test"`}},
		"SERVFAIL for the parent": {parentFails, expectation{problem: acme.DNSProblem, transient: true, detail: `CAA of "test"`}},
		"truncated": {networktest.Reply(func(_, m *dns.Msg) { m.Truncated = true }),
			expectation{problem: acme.DNSProblem, detail: "truncated over TCP"}},
		"a record without data": {networktest.Reply(func(_, m *dns.Msg) {
			m.Answer = []dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeCAA, Class: dns.ClassINET}}}
		}), expectation{problem: acme.DNSProblem, detail: "no data"}},
		"a record without a tag": {networktest.Reply(func(_, m *dns.Msg) {
			m.Answer = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeCAA, Class: dns.ClassINET}, Rdata: "00"}}
		}), expectation{problem: acme.CAA, detail: "malformed"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config.CAA, w.config.CAAIdentities = true, []string{"ca.test"}
			w.config.Resolvers = []string{networktest.Serve(t, c.handler)}
			c.want.check(t, w.validator().CheckCAA(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		})
	}
}

func TestCheckCAADoesNotApply(t *testing.T) {
	w := newWorld(t)
	w.config.CAA = true
	w.config.Resolvers = []string{networktest.Serve(t, networktest.Rcode(dns.RcodeServerFailure))}
	expectation{}.check(t, w.validator().CheckCAA(t.Context(), ipRequest(acme.HTTP01, "192.0.2.1")))
	w.config.CAA = false
	expectation{}.check(t, w.validator().CheckCAA(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
}

// Validate requires both the proof and CAA's permission.
func TestValidateChecksCAA(t *testing.T) {
	for value, want := range map[string]expectation{"ca.test": {}, "x.test": {problem: acme.CAA}} {
		w := newWorld(t, "a.test. A 192.0.2.1", `a.test. CAA 0 issue "`+value+`"`)
		w.config.CAA, w.config.CAAIdentities = true, []string{"ca.test"}
		w.http(keyAuthorizationServer, "192.0.2.1:80")
		got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
		want.check(t, got)
		equal(t, "records", got.Record.Records, []string{`CAA a.test 0 issue "` + value + `"`})
	}
}

func TestParseIssueValue(t *testing.T) {
	for value, want := range map[string]string{
		"":                      "[]",
		" ":                     "[]",
		";":                     "[]",
		" ; ":                   "[]",
		"ca.test":               "ca.test[]",
		"\tca.test ":            "ca.test[]",
		"ca":                    "ca[]",
		"ca.test;":              "ca.test[]",
		"ca.test; a=b":          "ca.test[a=b]",
		"ca.test;a = b ; c=":    "ca.test[a=b c=]",
		"; a=b":                 "[a=b]",
		"ca.test; a-1=https://": "ca.test[a-1=https://]",
		"ca.test; a=b=c":        "ca.test[a=b=c]",
		"ca.test; a=b;":         "",
		"ca.test;; a=b":         "",
		"ca.test; a":            "",
		"ca.test; =b":           "",
		"ca.test; a b=c":        "",
		"ca.test; a=b c":        "",
		"ca.test; a_b=c":        "",
		"ca.test; -a=c":         "",
		"ca.test; a-=c":         "",
		"ca.test; a=\x80":       "",
		"ca test":               "",
		"ca..test":              "",
		"ca.test.":              "",
		"-ca.test":              "",
		"ca_.test":              "",
	} {
		v, ok := parseIssueValue(value)
		got := v.issuer + "["
		for i, p := range v.parameters {
			if i > 0 {
				got += " "
			}
			got += p.tag + "=" + p.value
		}
		got += "]"
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %s, %v", value, got, ok)
		}
	}
}
