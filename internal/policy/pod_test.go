package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// A rule for Pods stands in for allow lists and challenges. Deny lists, rules and constraints still hold.
func TestAdmitPod(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	forged := *csr
	forged.Signature = []byte{1}
	off := false
	for _, test := range []struct {
		name   string
		spec   v1alpha1.Policy
		ids    []string
		csr    *x509.CertificateRequest
		caKeys []crypto.PublicKey
		chain  []*x509.Certificate
		want   string // "" for admitted
	}{
		{name: "a Service's name"},
		{name: "outside the allow list", spec: v1alpha1.Policy{DNS: v1alpha1.DNSPolicy{Allow: []string{"corp.test"}}}},
		{name: "no name", ids: []string{}},
		{name: "denied", spec: v1alpha1.Policy{DNS: v1alpha1.DNSPolicy{Deny: []string{"shop.svc"}}}, want: `"web.shop.svc" is denied by this issuer's policy`},
		{name: "a wildcard", ids: []string{"*.web.shop.svc"}},
		{name: "a wildcard that the issuer does not certify", ids: []string{"*.web.shop.svc"}, spec: v1alpha1.Policy{DNS: v1alpha1.DNSPolicy{AllowWildcards: &off}}, want: "is a wildcard"},
		{name: "outside the CA's constraints", chain: []*x509.Certificate{{PermittedDNSDomains: []string{"corp.test"}}}, want: "outside the name constraints"},
		{name: "a rule", spec: v1alpha1.Policy{Rules: []v1alpha1.PolicyRule{{Expression: "account.id == '' && profile == 'default' && csr.keyAlgorithm == 'ECDSA'"}}}},
		{name: "a rule for accounts", spec: v1alpha1.Policy{Rules: []v1alpha1.PolicyRule{{Expression: "account.externalAccountKeyID == 'edge'", Message: "only the edge"}}}, want: "only the edge"},
		{name: "the CA's key", caKeys: []crypto.PublicKey{key.Public()}, want: "is the key of a CA certificate"},
		{name: "a forged signature", csr: &forged, want: "signature does not verify"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := &v1alpha1.AcmeIssuerSpec{Policy: test.spec, Profiles: []v1alpha1.Profile{{Name: "default"}}}
			p, err := New(spec)
			if err != nil {
				t.Fatal(err)
			}
			if test.ids == nil {
				test.ids = []string{"web.shop.svc"}
			}
			if test.csr == nil {
				test.csr = csr
			}
			var ids []acme.Identifier
			for _, name := range test.ids {
				ids = append(ids, acme.Identifier{Type: acme.DNS, Value: name})
			}
			problem := p.Under(test.chain).AdmitPod(ids, "", test.csr, test.caKeys)
			if (problem == nil) != (test.want == "") || problem != nil && !strings.Contains(problem.Detail, test.want) {
				t.Errorf("got %v", problem)
			}
		})
	}
}

func TestAcceptsKey(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if AcceptsKey(v1alpha1.Profile{}, p521.Public()) {
		t.Error("P-521 is accepted by default")
	}
	if !AcceptsKey(v1alpha1.Profile{KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP521}}, p521.Public()) {
		t.Error("P-521 is refused")
	}
}
