package rules

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

func dns(names ...string) []acme.Identifier {
	var ids []acme.Identifier
	for _, name := range names {
		ids = append(ids, acme.Identifier{Type: acme.DNS, Value: name})
	}
	return ids
}

func csrOf(key crypto.PublicKey, commonName string) *x509.CertificateRequest {
	return &x509.CertificateRequest{PublicKey: key, Subject: pkix.Name{CommonName: commonName}}
}

func ecdsaKey(curve elliptic.Curve) crypto.PublicKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key.Public()
}

// order is one of a bound account for two names, with its CSR.
func order() Request {
	return Request{
		AccountID: "abc", Contact: []string{"mailto:a@corp.test"}, ExternalAccountKeyID: "team-a",
		Identifiers: append(dns("a.corp.test", "*.corp.test"), acme.Identifier{Type: acme.IP, Value: "10.1.2.3"}),
		Profile:     "short", CSR: csrOf(ecdsaKey(elliptic.P256()), "a.corp.test"),
	}
}

func TestCheck(t *testing.T) {
	tests := map[string]bool{
		"true":  true,
		"false": false,
		"account.id == 'abc' && account.externalAccountKeyID == 'team-a'":                                                    true,
		"account.externalAccountKeyID != ''":                                                                                 true,
		"account.contact.exists(c, c.endsWith('@corp.test'))":                                                                true,
		"account.contact[1] == 'mailto:b@corp.test'":                                                                         false, // there is no second one
		"identifiers.all(i, i.type != 'dns' || i.value.endsWith('.corp.test'))":                                              true,
		"identifiers.all(i, i.type == 'dns')":                                                                                false,
		"identifiers.exists(i, i.wildcard)":                                                                                  true,
		"!identifiers.exists(i, i.wildcard && profile == 'short')":                                                           false,
		"identifiers.all(i, i.type != 'ip' || cidr('10.0.0.0/8').containsIP(i.value))":                                       true,
		"identifiers.all(i, i.type != 'ip' || cidr('192.168.0.0/16').containsIP(i.value))":                                   false,
		"cidr(identifiers[0].value).containsIP('10.0.0.1')":                                                                  false, // no range
		"identifiers.size() <= 3":                                                                                            true,
		"identifiers.all(i, i.value.matches('^[a-z0-9.*]+$'))":                                                               true,
		"identifiers[0].value.split('.')[1] == 'corp'":                                                                       true,
		"account.externalAccountKeyID.startsWith('team-') && identifiers.all(i, i.value.contains('corp') || i.type == 'ip')": true,
		"profile in ['short', 'long']":                                                                                       true,
		"csr.keyAlgorithm == 'ECDSA' && csr.keySize >= 256":                                                                  true,
		"csr.keySize > 256":                      false,
		"csr.commonName == ''":                   false,
		"csr.commonName == identifiers[0].value": true,
		"{'team-a': ['.corp.test']}[account.externalAccountKeyID].exists(d, identifiers[0].value.endsWith(d))": true,
		"{'team-b': ['.corp.test']}[account.externalAccountKeyID].exists(d, identifiers[0].value.endsWith(d))": false, // no such key
		"sets.contains(['short'], [profile])": true,
	}
	for expression, want := range tests {
		set, err := Compile([]Rule{{Expression: "true"}, {Expression: expression}})
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if problem := set.Check(order()); (problem == nil) != want {
			t.Errorf("%s: %v, want %v", expression, problem, want)
		}
	}
}

func TestCheckGivesTheMessageOfTheFirstRuleThatIsFalse(t *testing.T) {
	set, err := Compile([]Rule{{"profile == 'short'", "not this"}, {"identifiers.size() < 2", "one name each"}, {"false", "nor this"}})
	if err != nil {
		t.Fatal(err)
	}
	problem := set.Check(order())
	if problem == nil || problem.Type != acme.RejectedIdentifier || problem.Detail != "one name each" {
		t.Errorf("got %v", problem)
	}
	set, err = Compile([]Rule{{Expression: "csr.keySize > 256"}})
	if err != nil {
		t.Fatal(err)
	}
	if problem = set.Check(order()); problem == nil || problem.Type != acme.BadCSR || !strings.Contains(problem.Detail, "rule 1") {
		t.Errorf("got %v", problem)
	}
}

func TestCheckAsksOnlyRulesWhoseVariablesAreKnown(t *testing.T) {
	tests := []struct {
		expression string
		authz      bool // whether it is asked before there is an order
		order      bool // whether it is asked before there is a CSR
	}{
		{"false", true, true},
		{"account.id == ''", true, true},
		{"identifiers.size() == 0", true, true},
		{"profile == ''", false, true},
		{"identifiers.all(i, profile == '')", false, true},
		{"csr.keySize == 0", false, false},
		{"false && csr.keySize == 0", false, false},
		{"profile == '' && csr.keySize == 0", false, false},
	}
	for _, test := range tests {
		set, err := Compile([]Rule{{Expression: test.expression}})
		if err != nil {
			t.Fatal(err)
		}
		r := order()
		if set.Check(r) == nil {
			t.Errorf("%s: isn't asked of an order with its CSR", test.expression)
		}
		r.CSR = nil
		if asked := set.Check(r) != nil; asked != test.order {
			t.Errorf("%s: asked of an order: %v", test.expression, asked)
		}
		r.Profile = ""
		if asked := set.Check(r) != nil; asked != test.authz {
			t.Errorf("%s: asked of an authorization: %v", test.expression, asked)
		}
	}
	if (*Set)(nil).Check(order()) != nil {
		t.Error("no rules refuse")
	}
}

func TestKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]crypto.PublicKey{
		"RSA 2048": rsaKey.Public(), "ECDSA 384": ecdsaKey(elliptic.P384()), "ECDSA 521": ecdsaKey(elliptic.P521()), "Ed25519 256": edKey, " 0": "none",
	} {
		if algorithm, size := keyOf(key); fmt.Sprint(algorithm, " ", size) != want {
			t.Errorf("got %s %d, want %s", algorithm, size, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	deep := strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200)
	tests := map[string]string{
		"":                        "does not compile",
		"tru":                     "undeclared reference to 'tru'",
		"account.name == 'a'":     "undefined field 'name'",
		"profile == 1":            "no matching overload",
		"profile":                 "has type string",
		"identifiers":             "must be a bool",
		"dyn(profile)":            "must be a bool",
		"1 +":                     "1:4",
		"profile.matches('[')":    "invalid matches argument",
		deep:                      "recursion",
		strings.Repeat(" ", 5000): "size",
		"identifiers.all(a, identifiers.all(b, identifiers.all(c, a.value == b.value + c.value)))":          "can cost",
		"[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))":                                              "nesting",
		"identifiers.all(i, identifiers.all(j, i.value.matches(j.value + '(a|b|c|d|e|f|g|h|i|j|k|l|m)*')))": "can cost",
	}
	for expression, want := range tests {
		_, err := Compile([]Rule{{Expression: "true"}, {Expression: expression}})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Index != 1 || !strings.Contains(e.Error(), want) || strings.Contains(e.Reason, "\n") {
			t.Errorf("%.60s: %v, want %q", expression, err, want)
		}
	}
	if _, err := Compile(make([]Rule, maxRules+1)); err == nil {
		t.Error("too many rules are taken")
	}
	costly := Rule{Expression: "identifiers.all(i, identifiers.all(j, i.type == j.type || i.wildcard))"}
	if _, err := Compile([]Rule{costly}); err != nil {
		t.Errorf("one costly rule: %v", err)
	}
	many := make([]Rule, maxRules)
	for i := range many {
		many[i] = costly
	}
	if _, err := Compile(many); err == nil || !strings.Contains(err.Error(), "together") {
		t.Errorf("many costly rules: %v", err)
	}
}

// The cost of a rule is bounded also for a request that is larger than the schema allows.
func TestCheckIsBounded(t *testing.T) {
	set, err := Compile([]Rule{{Expression: "identifiers.all(i, identifiers.all(j, i.type == j.type || i.wildcard))"}})
	if err != nil {
		t.Fatal(err)
	}
	r := order()
	r.Identifiers = nil
	for i := range 100 {
		r.Identifiers = append(r.Identifiers, dns(fmt.Sprintf("%d.%s.test", i, strings.Repeat("a", 60)))...)
	}
	start := time.Now()
	if problem := set.Check(r); problem != nil {
		t.Errorf("a hundred names: %v", problem)
	}
	t.Log(time.Since(start))
	r.Identifiers = nil
	for i := range 20000 {
		r.Identifiers = append(r.Identifiers, dns(fmt.Sprintf("%d.test", i))...)
	}
	start = time.Now()
	problem := set.Check(r)
	t.Log(time.Since(start))
	if problem == nil || !strings.Contains(problem.Detail, "cost limit") {
		t.Errorf("twenty thousand names: %v", problem)
	}
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{"true", "account.id == 'x'", "identifiers.all(i, i.value.endsWith('.test'))", "csr.keySize > 2", "cidr('10.0.0.0/8').containsIP(identifiers[0].value)", "{'a': 1}.a == 1", "[1,2].map(x, x * 2).size() > 1"} {
		f.Add(seed)
	}
	r := order()
	f.Fuzz(func(t *testing.T, expression string) {
		set, err := Compile([]Rule{{Expression: expression}})
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%T", err)
			}
			return
		}
		first, second := set.Check(r), set.Check(r)
		if (first == nil) != (second == nil) {
			t.Errorf("%q: %v and then %v", expression, first, second)
		}
	})
}
