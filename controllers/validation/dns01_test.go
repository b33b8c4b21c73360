package validation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

func TestDNS01(t *testing.T) {
	digest := acme.DNS01Digest(testKeyAuth)
	txt := func(value string) string { return fmt.Sprintf("_acme-challenge.a.test. TXT %s", value) }
	var huge []string
	for i := range 1000 {
		huge = append(huge, txt(fmt.Sprintf("%q", fmt.Sprint("filler number ", i))))
	}
	incorrect := func(detail string) expectation {
		return expectation{problem: acme.IncorrectResponse, detail: detail, transient: true}
	}
	for name, c := range map[string]struct {
		zone []string
		want expectation
	}{
		"the digest":              {[]string{txt(digest)}, expectation{}},
		"among others":            {[]string{txt("old"), txt(digest), txt(`"v=spf1 -all"`)}, expectation{}},
		"in several strings":      {[]string{txt(fmt.Sprintf("%q %q", digest[:20], digest[20:]))}, expectation{}},
		"behind a CNAME":          {[]string{"_acme-challenge.a.test. CNAME x.b.test.", "x.b.test. CNAME y.b.test.", "y.b.test. TXT " + digest}, expectation{}},
		"last of a huge set":      {append(huge[:len(huge):len(huge)], txt(digest)), expectation{}},
		"a huge set without it":   {huge, incorrect("none of the 1000 TXT records")},
		"another digest":          {[]string{txt(acme.DNS01Digest("x"))}, incorrect(acme.DNS01Digest("x"))},
		"the key authorization":   {[]string{txt(fmt.Sprintf("%q", testKeyAuth))}, incorrect("none of the 1")},
		"in another case":         {[]string{txt(strings.ToLower(digest))}, incorrect("")},
		"with a blank":            {[]string{txt(fmt.Sprintf("%q", digest+" "))}, incorrect("")},
		"with quotes":             {[]string{txt(fmt.Sprintf(`"\"%s\""`, digest))}, incorrect("")},
		"an empty value":          {[]string{txt(`""`)}, incorrect("")},
		"in two records":          {[]string{txt(digest[:20]), txt(digest[20:])}, incorrect("none of the 2")},
		"odd bytes":               {[]string{txt(`"\027[31m\200"`)}, incorrect("")},
		"at the name itself":      {[]string{"a.test. TXT " + digest}, expectation{problem: acme.DNSProblem, detail: "NXDOMAIN", transient: true}},
		"another type":            {[]string{"_acme-challenge.a.test. A 192.0.2.1"}, expectation{problem: acme.Unauthorized, detail: "no TXT record", transient: true}},
		"a CNAME to nowhere":      {[]string{"_acme-challenge.a.test. CNAME gone.test."}, expectation{problem: acme.DNSProblem, detail: "NXDOMAIN", transient: true}},
		"a CNAME loop":            {[]string{"_acme-challenge.a.test. CNAME a.test.", "a.test. CNAME _acme-challenge.a.test."}, expectation{problem: acme.DNSProblem, detail: "loop"}},
		"beside its own A record": {[]string{txt(digest), "_acme-challenge.a.test. A 192.0.2.1"}, expectation{}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, wildcard := range []bool{false, true} {
				w := newWorld(t, c.zone...)
				request := dnsRequest(acme.DNS01, "a.test")
				request.Wildcard = wildcard
				got := w.validator().Validate(t.Context(), request)
				c.want.check(t, got)
				if got.Problem != nil && len(got.Problem.Detail) > 500 {
					t.Errorf("a detail of %d bytes", len(got.Problem.Detail))
				}
				equal(t, "dials", w.dials, nil)
			}
		})
	}
}

func TestDNS01Record(t *testing.T) {
	w := newWorld(t, "_acme-challenge.a.test. CNAME b.test.", `b.test. TXT "hello"`, fmt.Sprintf("b.test. TXT %q", strings.Repeat("x", 200)))
	got := w.validator().Validate(t.Context(), dnsRequest(acme.DNS01, "a.test"))
	equal(t, "records", got.Record.Records, []string{"CNAME b.test.", `TXT "hello"`, `TXT "` + strings.Repeat("x", maxTXTShown-3) + `..."`})
	if got.Record.Resolver != w.config.Resolvers[0] {
		t.Errorf("got resolver %q", got.Record.Resolver)
	}
}

func TestDNS01Failures(t *testing.T) {
	w := newWorld(t)
	w.config.Resolvers = []string{networktest.Serve(t, networktest.Rcode(dns.RcodeServerFailure))}
	expectation{problem: acme.DNSProblem, transient: true, detail: `TXT of "_acme-challenge.a.test" from ` + w.config.Resolvers[0] + ": SERVFAIL"}.
		check(t, w.validator().Validate(t.Context(), dnsRequest(acme.DNS01, "a.test")))

	label := strings.Repeat("a", 61)
	long := strings.Join([]string{label, label, label, label[:55]}, ".") // leaves no room for the prefix
	expectation{problem: acme.DNSProblem, detail: "too long"}.
		check(t, newWorld(t).validator().Validate(t.Context(), dnsRequest(acme.DNS01, long)))
}

// dns-account-01 is dns-01 at a name of the account's own, derived from the URL that the client uses.
func TestDNSAccount01(t *testing.T) {
	digest := acme.DNS01Digest(testKeyAuth)
	at := func(account, value string) string {
		return acme.AccountLabel(account) + "._acme-challenge.a.test. TXT " + value
	}
	const mine, other = "https://ca.test/acme/acct/1", "https://ca.test/acme/acct/2"
	for name, c := range map[string]struct {
		zone []string
		want expectation
	}{
		"the account's":             {[]string{at(mine, digest)}, expectation{}},
		"behind a CNAME":            {[]string{acme.AccountLabel(mine) + "._acme-challenge.a.test. CNAME x.b.test.", "x.b.test. TXT " + digest}, expectation{}},
		"another account's":         {[]string{at(other, digest)}, expectation{problem: acme.DNSProblem, detail: "NXDOMAIN", transient: true}},
		"at dns-01's name":          {[]string{"_acme-challenge.a.test. TXT " + digest}, expectation{problem: acme.DNSProblem, detail: "NXDOMAIN", transient: true}},
		"another digest":            {[]string{at(mine, acme.DNS01Digest("x"))}, expectation{problem: acme.IncorrectResponse, transient: true}},
		"by another URL of its own": {[]string{at("https://ca.example/acme/acct/1", digest)}, expectation{problem: acme.DNSProblem, transient: true}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, wildcard := range []bool{false, true} {
				request := dnsRequest(acme.DNSAccount01, "a.test")
				request.AccountURIs = []string{mine, "https://ca.example/acme/acct/1"}
				request.Wildcard = wildcard
				c.want.check(t, newWorld(t, c.zone...).validator().Validate(t.Context(), request))
			}
		})
	}
	request := dnsRequest(acme.DNSAccount01, "a.test")
	request.AccountURIs = nil
	expectation{problem: acme.ServerInternal}.check(t, newWorld(t).validator().Validate(t.Context(), request))
}
