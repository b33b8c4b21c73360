package view_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) metav1.Time     { return metav1.NewTime(now.Add(-d)) }
func agoPtr(d time.Duration) *metav1.Time { t := ago(d); return &t }

// written returns the output of write, with or without colours.
func written(colour bool, write func(view.Screen)) string {
	var out strings.Builder
	write(view.Screen{Writer: &out, Colour: colour, Now: now})
	return out.String()
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got:\n%s\nwant:%s", got, want)
	}
}

func anOrder() *v1alpha1.AcmeOrder {
	return &v1alpha1.AcmeOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "order1", CreationTimestamp: ago(5 * time.Minute)},
		Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "account1"}, Profile: "short",
			Identifiers:    []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}, {Type: acme.DNS, Value: "*.b.test"}},
			Authorizations: []string{"authz1", "authz2"},
		},
		Status: v1alpha1.AcmeOrderStatus{State: acme.StateInvalid, Expires: agoPtr(-time.Hour), Problem: &v1alpha1.Problem{
			Type: acme.Compound, Detail: "2 of 2 identifiers were not authorized", Subproblems: []v1alpha1.Subproblem{
				{Type: acme.Connection, Detail: "connection refused", Identifier: &v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}},
			},
		}},
	}
}

func anAuthorization() *v1alpha1.AcmeAuthorization {
	return &v1alpha1.AcmeAuthorization{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "authz1"},
		Spec: v1alpha1.AcmeAuthorizationSpec{
			Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}, Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01}, {Type: acme.DNS01}},
		},
		Status: v1alpha1.AcmeAuthorizationStatus{State: acme.StateInvalid, Expires: agoPtr(-time.Hour), Challenge: &v1alpha1.ChallengeStatus{
			Type: acme.HTTP01, State: acme.StateInvalid, Attempts: 3,
			Problem: &v1alpha1.Problem{Type: acme.Connection, Detail: "connecting to 10.0.0.7:80: connection refused"},
			Record: &v1alpha1.ValidationRecord{
				Time: agoPtr(time.Minute), DurationMillis: 12, Resolver: "10.0.0.10:53", Addresses: []string{"10.0.0.7"}, AddressUsed: "10.0.0.7:80",
				URLs:         []string{"http://a.test/.well-known/acme-challenge/x"},
				Perspectives: []v1alpha1.PerspectiveRecord{{Name: "east", Problem: "timed out", AddressUsed: "10.1.0.7:80"}, {Name: "west", Valid: true}},
			},
		}},
	}
}

func anAccount() *v1alpha1.AcmeAccount {
	return &v1alpha1.AcmeAccount{Status: v1alpha1.AcmeAccountStatus{State: acme.StateValid, Contact: []string{"mailto:a@a.test"}, ExternalAccountKeyID: "team-a"}}
}

func TestOrderTree(t *testing.T) {
	pending := &v1alpha1.AcmeAuthorization{
		ObjectMeta: metav1.ObjectMeta{Name: "authz2"},
		Spec: v1alpha1.AcmeAuthorizationSpec{
			Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "b.test"}, Wildcard: true, Challenges: []v1alpha1.Challenge{{Type: acme.DNS01}},
		},
		Status: v1alpha1.AcmeAuthorizationStatus{State: acme.StatePending},
	}
	tree := func(authorizations ...*v1alpha1.AcmeAuthorization) string {
		return written(false, func(s view.Screen) { view.OrderTree(anOrder(), authorizations, anAccount(), s).Write(s) })
	}
	expect(t, tree(anAuthorization(), pending), `
Order order1 invalid
├─ identifiers a.test, *.b.test
├─ issuer      pki/ca, profile short
├─ account     account1 (valid, mailto:a@a.test, bound by key team-a)
├─ created     2030-01-02T02:59:05Z (5m ago)
├─ expires     2030-01-02T04:04:05Z (in 60m)
├─ problem     compound: 2 of 2 identifiers were not authorized
├─ problem     a.test: connection: connection refused
├─ Authorization authz1 for a.test invalid
│  ├─ expires     2030-01-02T04:04:05Z (in 60m)
│  └─ Challenge http-01 invalid
│     ├─ attempts    3
│     ├─ problem     connection: connecting to 10.0.0.7:80: connection refused
│     ├─ tried       2030-01-02T03:03:05Z (60s ago), for 12 ms
│     ├─ resolver    10.0.0.10:53
│     ├─ addresses   10.0.0.7
│     ├─ connected   10.0.0.7:80
│     ├─ fetched     http://a.test/.well-known/acme-challenge/x
│     ├─ seen from east not proved
│     │  ├─ problem     timed out
│     │  └─ connected   10.1.0.7:80
│     └─ seen from west proved
└─ Authorization authz2 for *.b.test pending
   └─ challenges  dns-01; none chosen by the client yet
`)
	if got := tree(anAuthorization(), nil); !strings.Contains(got, "└─ Authorization authz2 missing\n") {
		t.Error(got)
	}
}

func TestRevokedOrderTree(t *testing.T) {
	order := anOrder()
	order.Spec.Authorizations = nil
	order.Annotations = map[string]string{v1alpha1.RevokedByAnnotation: "jane"}
	order.Spec.Revocation = &v1alpha1.Revocation{Reason: 4}
	order.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "5a01", CRL: "abc-3", NotBefore: agoPtr(time.Hour), NotAfter: agoPtr(-24 * time.Hour), RevokedAt: agoPtr(time.Minute)}
	got := written(false, func(s view.Screen) { view.OrderTree(order, nil, nil, s).Write(s) })
	expect(t, got, `
Order order1 revoked
├─ identifiers a.test, *.b.test
├─ issuer      pki/ca, profile short
├─ account     account1 (missing)
├─ created     2030-01-02T02:59:05Z (5m ago)
└─ Certificate 5a01
   ├─ from        2030-01-02T02:04:05Z (60m ago)
   ├─ until       2030-01-03T03:04:05Z (in 24h)
   ├─ CRL         abc-3
   └─ revocation  2030-01-02T03:03:05Z (60s ago), superseded, by jane
`)
}

func TestOrdersTable(t *testing.T) {
	valid := anOrder()
	valid.Name, valid.Status = "order2", v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "5a01", NotAfter: agoPtr(-48 * time.Hour)}
	expired := anOrder()
	expired.Name, expired.Status = "order3", v1alpha1.AcmeOrderStatus{State: acme.StateValid, NotAfter: agoPtr(2 * time.Hour)}
	orders := []v1alpha1.AcmeOrder{*anOrder(), *valid, *expired}
	expect(t, written(false, func(s view.Screen) { view.Orders(orders, false, false, s).Write(s) }), `
NAME     STATE     IDENTIFIERS   ISSUER   REASON     EXPIRES            AGE
order1   invalid   a.test +1     ca       compound   -                  5m
order2   valid     a.test +1     ca       -          2d                 5m
order3   expired   a.test +1     ca       -          expired 120m ago   5m
`)
	wide := written(false, func(s view.Screen) { view.Orders(orders[1:2], true, true, s).Write(s) })
	expect(t, wide, `
NAMESPACE   NAME     STATE   IDENTIFIERS        ISSUER   REASON   EXPIRES   AGE   ACCOUNT    SERIAL   DETAIL
pki         order2   valid   a.test, *.b.test   ca       -        2d        5m    account1   5a01     -
`)
}

func TestStatus(t *testing.T) {
	end := now.Add(300 * 24 * time.Hour)
	st := view.Status{
		Issuers: []view.IssuerStatus{
			{Namespace: "pki", Name: "ca", Ready: "True", Reason: "Ready", Directory: "https://acme.test/acme/directory", CAExpires: &end, RootExpires: &end,
				CASubject: "CN=ca", CASHA256: "ab", CRL: &view.CRLStatus{Shards: 8, Revoked: 2, ThisUpdate: now.Add(-3 * time.Hour), NextUpdate: now.Add(165 * time.Hour)}},
			{Namespace: "pki", Name: "broken", Ready: "False", Reason: "CAUnavailable", Message: "there is no Secret \"x\"",
				CRL: &view.CRLStatus{Shards: 1, ThisUpdate: now.Add(-50 * time.Hour), NextUpdate: now.Add(-2 * time.Hour)}},
		},
		Orders: []view.OrderCounts{{Namespace: "pki", Total: 100000, ByState: map[acme.State]int{acme.StatePending: 3, acme.StateInvalid: 10000}, More: map[acme.State]bool{acme.StateInvalid: true}}},
	}
	expect(t, written(false, func(s view.Screen) { st.Write(s, false) }), `
NAMESPACE   ISSUER   READY   REASON          CA EXPIRES   CRL AGE                  DIRECTORY
pki         ca       True    Ready           300d         3h                       https://acme.test/acme/directory
pki         broken   False   CAUnavailable   -            2d2h, expired 120m ago   -

pki/broken: there is no Secret "x"

NAMESPACE   ORDERS   PENDING   READY   PROCESSING   VALID    INVALID
pki         100000   3         0       0            ≤89997   10000+
`)
	if got := written(false, func(s view.Screen) { st.Write(s, true) }); !strings.Contains(got, "ROOT EXPIRES   CRL ENDS") || !strings.Contains(got, "CN=ca") {
		t.Error(got)
	}
	if got := written(false, func(s view.Screen) { view.Status{}.Write(s, false) }); !strings.Contains(got, "No AcmeIssuer") {
		t.Error(got)
	}
}

func TestColoursAreShownOnlyWhereTheyAreWanted(t *testing.T) {
	table := func(s view.Screen) { view.Orders([]v1alpha1.AcmeOrder{*anOrder()}, false, false, s).Write(s) }
	if got := written(true, table); !strings.Contains(got, "\x1b[31minvalid\x1b[0m") {
		t.Errorf("%q", got)
	}
	if got := written(false, table); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}

// TestNothingFromTheClusterControlsTheTerminal puts an escape sequence into every string of the objects.
func TestNothingFromTheClusterControlsTheTerminal(t *testing.T) {
	const evil = "\x1b[2J\x9b31m\u009b\u202e\r\n\x00\x7f"
	order, authz, account := anOrder(), anAuthorization(), anAccount()
	order.Name += evil
	order.Spec.Identifiers[0].Value += evil
	order.Spec.Profile += evil
	order.Spec.IssuerRef.Name += evil
	order.Status.Problem.Detail += evil
	order.Status.Problem.Subproblems[0].Detail += evil
	order.Status.Conditions = []metav1.Condition{{Type: "Ready", Reason: evil, Message: evil}}
	order.Status.Serial = evil
	order.Annotations = map[string]string{v1alpha1.RevokedByAnnotation: evil}
	order.Spec.Revocation = &v1alpha1.Revocation{}
	authz.Status.Challenge.Problem.Detail += evil
	authz.Status.Challenge.Record.URLs[0] += evil
	authz.Status.Challenge.Record.Records = []string{evil}
	authz.Status.Challenge.Record.Perspectives[0].Name += evil
	account.Status.Contact[0] += evil
	key := view.ExternalKey{Namespace: evil, Issuer: evil, ID: evil, State: evil, Account: evil, Expires: evil, Allows: []string{evil}}
	st := view.Status{Issuers: []view.IssuerStatus{{Namespace: evil, Name: evil, Ready: evil, Reason: evil, Message: evil, Directory: evil, CASubject: evil}}}
	for name, write := range map[string]func(view.Screen){
		"tree": func(s view.Screen) {
			view.OrderTree(order, []*v1alpha1.AcmeAuthorization{authz, nil}, account, s).Write(s)
		},
		"orders": func(s view.Screen) { view.Orders([]v1alpha1.AcmeOrder{*order}, true, true, s).Write(s) },
		"keys":   func(s view.Screen) { view.ExternalKeys([]view.ExternalKey{key}, s).Write(s) },
		"status": func(s view.Screen) { st.Write(s, true) },
	} {
		got := written(false, write)
		if strings.ContainsAny(got, "\x1b\x00\r\x7f\u009b\u202e") || strings.Contains(got, "\x9b") {
			t.Errorf("%s: %q", name, got)
		}
		if !strings.Contains(got, "[2J") {
			t.Errorf("%s: harmless text is missing: %q", name, got)
		}
	}
}

func TestExternalKeyOf(t *testing.T) {
	secret := func(name string, data map[string]string) *corev1.Secret {
		s := &corev1.Secret{Type: v1alpha1.ExternalAccountKeyType, Data: map[string][]byte{}}
		s.Name = name
		for k, v := range data {
			s.Data[k] = []byte(v)
		}
		return s
	}
	used := secret("ca-eab-x", nil)
	used.Annotations = map[string]string{v1alpha1.BoundAccountAnnotation: "account1"}
	wrongType := secret("ca-eab-x", nil)
	wrongType.Type = corev1.SecretTypeOpaque
	for name, test := range map[string]struct {
		secret *corev1.Secret
		state  string // "" for no key
	}{
		"unused":           {secret("ca-eab-x", map[string]string{"expires": "2030-01-02T03:04:06Z"}), "unused"},
		"over":             {secret("ca-eab-x", map[string]string{"expires": "2030-01-02T03:04:05Z"}), "expired"},
		"garbled":          {secret("ca-eab-x", map[string]string{"expires": "soon"}), "expired"},
		"reusable":         {secret("ca-eab-x", map[string]string{"reusable": "true"}), "reusable"},
		"used":             {used, "used"},
		"another Secret":   {secret("ca-x", nil), ""},
		"an Opaque one":    {wrongType, ""},
		"an id too long":   {secret("ca-eab-"+strings.Repeat("x", 65), nil), ""},
		"without a issuer": {secret("-eab-x", nil), ""},
	} {
		key, ok := view.ExternalKeyOf(test.secret, now)
		if ok != (test.state != "") || key.State != test.state {
			t.Errorf("%s: got %v, %v", name, key, ok)
		}
	}
	key, _ := view.ExternalKeyOf(secret("a-eab-b-eab-c", map[string]string{"allowed-dns": "a.test, .b.test", "allowed-ips": "10.0.0.0/8", "allowed-profiles": "short"}), now)
	if key.Issuer != "a-eab-b" || key.ID != "c" || strings.Join(key.Allows, "|") != "a.test|.b.test|10.0.0.0/8|profile short" {
		t.Errorf("got %+v", key)
	}
}
