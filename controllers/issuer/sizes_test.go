package issuer

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/ca/catest"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/policy"
)

// The largest certificate has the most and longest names, the longest key and the longest URLs.
func TestACertificateIsWithinItsBound(t *testing.T) {
	const names = 100
	now := time.Now()
	authority := catest.Authority(t, now)
	profile, err := ca.NewProfile(ca.ProfileConfig{Name: "default", Lifetime: 100 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.GenerateKey(ca.RSA4096)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	request := ca.Request{ID: "largest", FinalizedAt: now, IssuerURL: "http://" + strings.Repeat("a", 500), CRLURL: "http://" + strings.Repeat("b", 500)}
	if request.CSR, err = x509.ParseCertificateRequest(der); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3)
	for i := range names {
		request.Identifiers = append(request.Identifiers, acme.Identifier{Type: acme.DNS, Value: fmt.Sprintf("*.%sa%0*d", long, acme.MaxNameLength-len(long)-3, i)})
	}
	certificate, err := authority.Issue(profile, request)
	if err != nil {
		t.Fatal(err)
	}
	chain := authority.ChainPEM()
	size, bound := len(ca.EncodeCertificates(certificate))+len(chain), policy.ChainSize(names, len(chain))
	t.Logf("%d bytes, bound %d", size, bound)
	if size > bound || bound > policy.MaxClientAnswer {
		t.Errorf("%d bytes, bound %d", size, bound)
	}
}

func TestAnswersThatSomeClientsRefuseAreAWarning(t *testing.T) {
	for name, test := range map[string]struct {
		base        string
		chain       int
		identifiers int
		warning     string
	}{
		"the usual":                         {"https://acme.corp.example", 4000, 100, ""},
		"long URLs":                         {"https://acme.corp.example/" + strings.Repeat("a", 480), 4000, 100, "shorten externalURLs"},
		"long URLs, but few identifiers":    {"https://acme.corp.example/" + strings.Repeat("a", 480), 4000, 10, ""},
		"a long chain":                      {"https://acme.corp.example", 40000, 100, "shorten the CA's chain"},
		"a long chain, but few identifiers": {"https://acme.corp.example", 40000, 10, ""},
	} {
		issuer := &issuers.Issuer{Bases: []acme.Base{acme.Base(test.base)}, Chain: make([]byte, test.chain)}
		issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "small", MaxIdentifiers: 1}, {Name: "default", MaxIdentifiers: test.identifiers}}
		warnSizes(issuer)
		if test.warning == "" && issuer.Warning != "" || !strings.Contains(issuer.Warning, test.warning) {
			t.Errorf("%s: %q", name, issuer.Warning)
		}
	}
}
