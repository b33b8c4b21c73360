package network

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

func FuzzReferral(f *testing.F) {
	seed := new(dns.Msg).SetQuestion("_acme-challenge.app.corp.example.", dns.TypeTXT)
	seed.Ns = []dns.RR{networktest.RR("app.corp.example. NS ns.app.corp.example.")}
	packed, err := seed.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, "corp.example.", "_acme-challenge.app.corp.example.")
	f.Fuzz(func(t *testing.T, raw []byte, from, name string) {
		reply := new(dns.Msg)
		if reply.Unpack(raw) != nil {
			return
		}
		from, name = dns.CanonicalName(from), dns.CanonicalName(name)
		apex, servers := referral(reply, from, name)
		if (apex == "") != (len(servers) == 0) {
			t.Fatalf("%q with %d servers", apex, len(servers))
		}
		if apex != "" && (apex == from || !dns.IsSubDomain(from, apex) || !dns.IsSubDomain(apex, name)) {
			t.Fatalf("%q is not between %q and %q", apex, from, name)
		}
	})
}
