package issuers

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
)

// Go's HTTP client, and proxies that set Host to $host:$server_port, name the default port.
func TestEquivalentHostsLeadToTheSameBase(t *testing.T) {
	const preferred, outside, other, address = "https://acme.internal.test/ns/ca", "https://acme.outside.test/ns/ca",
		"https://acme.outside.test:8443/ns/ca", "https://[2001:db8::1]/ns/ca"
	issuer := &Issuer{Key: types.NamespacedName{Namespace: "ns", Name: "ca"}, Bases: []acme.Base{preferred, outside, other, address}}
	for host, want := range map[string]acme.Base{
		"acme.outside.test": outside, "acme.outside.test:443": outside, "ACME.Outside.Test": outside, "acme.outside.test.": outside,
		"acme.outside.test.:443": outside, "acme.outside.test:": outside, "acme.outside.test:8443": other,
		"[2001:db8::1]": address, "[2001:DB8::1]:443": address,
		"acme.outside.test:80": preferred, "acme.outside.test..": preferred, "evil.test": preferred, "": preferred, "acme.outside.test:x": preferred,
	} {
		if got := issuer.BaseFor(host, false); got != want {
			t.Errorf("Host %q leads to %q, want %q", host, got, want)
		}
	}
}
