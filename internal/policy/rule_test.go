package policy

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"sync"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func withRules(rules ...v1alpha1.PolicyRule) func(*v1alpha1.AcmeIssuerSpec) {
	return func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.Rules = rules }
}

func TestRules(t *testing.T) {
	p, err := New(spec(withRules(
		v1alpha1.PolicyRule{Expression: "account.externalAccountKeyID != 'guest' || identifiers.all(i, i.value.endsWith('.guest.test'))", Message: "guests have names below guest.test"},
		v1alpha1.PolicyRule{Expression: "account.id != '' && account.contact.size() > 0"},
		v1alpha1.PolicyRule{Expression: "profile != 'long'"},
		v1alpha1.PolicyRule{Expression: "csr.keySize < 3072", Message: "smaller keys"},
	)))
	if err != nil {
		t.Fatal(err)
	}
	account := &v1alpha1.AcmeAccount{}
	account.Name, account.Status.Contact, account.Status.ExternalAccountKeyID = "x", []string{"mailto:a@b.test"}, "guest"
	guests := p.ForAccount(account)
	inside, outside := []acme.Identifier{{Type: acme.DNS, Value: "a.guest.test"}}, []acme.Identifier{{Type: acme.DNS, Value: "a.test"}}
	large := &x509.CertificateRequest{PublicKey: largeKey()}
	for what, test := range map[string]struct {
		policy      *Policy
		identifiers []acme.Identifier
		profile     string
		csr         *x509.CertificateRequest
		want        string
	}{
		"a name that is allowed":   {guests, inside, "", nil, ""},
		"a name that isn't":        {guests, outside, "", nil, "rejectedIdentifier: guests have names below guest.test"},
		"a profile that isn't":     {guests, inside, "long", nil, "rejectedIdentifier: rule 3"},
		"a CSR that is allowed":    {guests, inside, "short", &x509.CertificateRequest{PublicKey: csrKey.Public()}, ""},
		"a CSR that isn't":         {guests, inside, "short", large, "badCSR: smaller keys"},
		"nobody's request":         {p, inside, "", nil, "rejectedIdentifier: rule 2"},
		"an account without rules": {noRules(t).ForAccount(account), outside, "long", large, ""},
	} {
		problem := test.policy.Rules(test.identifiers, test.profile, test.csr)
		if (problem == nil) != (test.want == "") || problem != nil && !strings.Contains(problem.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", what, problem, test.want)
		}
	}
}

func noRules(t *testing.T) *Policy {
	t.Helper()
	p, err := New(spec())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewNamesTheRuleAtFault(t *testing.T) {
	_, err := New(spec(withRules(v1alpha1.PolicyRule{Expression: "true"}, v1alpha1.PolicyRule{Expression: "profil == ''"})))
	if err == nil || !strings.HasPrefix(err.Error(), "spec.policy.rules[1]: the expression does not compile: 1:1: undeclared reference to 'profil'") {
		t.Errorf("got %v", err)
	}
}

func TestForAccountKeepsTheBinding(t *testing.T) {
	account := &v1alpha1.AcmeAccount{}
	account.Status.ExternalAccountPolicy = &v1alpha1.ExternalAccountPolicy{DNS: []string{"team.test"}}
	p := noRules(t).ForAccount(account)
	if problem := p.Identifiers([]acme.Identifier{{Type: acme.DNS, Value: "a.test"}}); problem == nil {
		t.Error("a name outside the binding is allowed")
	}
	if problem := p.Identifiers([]acme.Identifier{{Type: acme.DNS, Value: "a.team.test"}}); problem != nil {
		t.Error(problem)
	}
}

func TestUnder(t *testing.T) {
	p := noRules(t).Under([]*x509.Certificate{{}, {PermittedDNSDomains: []string{"corp.test"}}})
	inside, outside := acme.Identifier{Type: acme.DNS, Value: "a.corp.test"}, acme.Identifier{Type: acme.DNS, Value: "a.test"}
	if problem := p.Identifiers([]acme.Identifier{inside}); problem != nil {
		t.Error(problem)
	}
	problem := p.Identifiers([]acme.Identifier{inside, outside, outside})
	if problem == nil || problem.Type != acme.RejectedIdentifier || len(problem.Subproblems) != 2 || !strings.Contains(problem.Subproblems[0].Detail, "name constraints") {
		t.Errorf("got %v", problem)
	}
}

// largeKey has a size that no rule here takes. It is made when a test asks for it: fuzzing starts the program again and again.
var largeKey = sync.OnceValue(func() crypto.PublicKey { return must(rsa.GenerateKey(rand.Reader, 3072)).Public() })
