package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/kube"
)

// audited gives the audit lines that something writes.
func audited(write func(context.Context)) []string {
	var lines []string
	logger := funcr.New(func(prefix, args string) { lines = append(lines, prefix+" "+args) }, funcr.Options{})
	write(logf.IntoContext(context.Background(), logger))
	return lines
}

// expectLines fails the test unless there is one line for each list of texts, which contains them.
func expectLines(t *testing.T, lines []string, want ...[]string) {
	t.Helper()
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %q", len(lines), len(want), lines)
	}
	for i, parts := range want {
		for _, part := range append(parts, "audit ") {
			if !strings.Contains(lines[i], part) {
				t.Errorf("%q isn't in %q", part, lines[i])
			}
		}
	}
}

func TestAuditOrder(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	pending := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "acct"}, Profile: "short",
		Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}, {Type: acme.DNS, Value: "b.test"}},
		Grants:      []string{"", "team"},
	}}
	pending.Namespace, pending.Name, pending.Status.State = "ns", "order", acme.StatePending
	account := &v1alpha1.AcmeAccount{Status: v1alpha1.AcmeAccountStatus{ExternalAccountKeyID: "team-a"}}
	who := []string{`"issuerNamespace"="ns"`, `"issuer"="ca"`, `"account"="acct"`, `"externalAccountKeyID"="team-a"`, `"order"="order"`, `"identifiers"=["a.test" "b.test"]`, `"grants"=["team"]`, `"profile"="short"`}
	with := func(more ...string) []string { return append(append([]string{}, who...), more...) }

	issued := pending.DeepCopy()
	issued.Status.State, issued.Status.Serial, issued.Status.NotBefore, issued.Status.NotAfter = acme.StateValid, "5a01", &at, &at
	failed := pending.DeepCopy()
	failed.Status.State, failed.Status.Problem = acme.StateInvalid, &v1alpha1.Problem{Type: acme.BadCSR, Detail: "no good"}
	asked := issued.DeepCopy()
	asked.Spec.Revocation = &v1alpha1.Revocation{Reason: int(ca.KeyCompromise), Request: &v1alpha1.SignedRequest{Signature: "x"}}
	revoked := asked.DeepCopy()
	revoked.Status.RevokedAt, revoked.Status.Revocation = &at, &v1alpha1.HandledRequest{Digest: "1"}
	byPerson := revoked.DeepCopy()
	byPerson.Spec.Revocation.Request = nil
	refused := asked.DeepCopy()
	refused.Status.Revocation = &v1alpha1.HandledRequest{Digest: "1", Problem: &v1alpha1.Problem{Type: acme.Unauthorized, Detail: "not yours"}}

	for name, test := range map[string]struct {
		before, after *v1alpha1.AcmeOrder
		want          [][]string
	}{
		"nothing":     {pending, pending, nil},
		"nothing new": {revoked, revoked, nil},
		"issued":      {pending, issued, [][]string{with(`"msg"="certificate issued"`, `"serial"="5a01"`, `"notBefore"="2026-01-02T03:04:05Z"`, `"notAfter"="2026-01-02T03:04:05Z"`)}},
		"failed":      {pending, failed, [][]string{with(`"msg"="order failed"`, `"problem"="badCSR"`, `"detail"="no good"`)}},
		"revoked":     {asked, revoked, [][]string{with(`"msg"="certificate revoked"`, `"serial"="5a01"`, `"reason"="keyCompromise"`, `"by"="client"`)}},
		"by a person": {asked, byPerson, [][]string{with(`"msg"="certificate revoked"`, `"by"="person"`)}},
		"refused":     {asked, refused, [][]string{with(`"msg"="request refused"`, `"request"="Revocation"`, `"problem"="unauthorized"`, `"detail"="not yours"`)}},
	} {
		t.Run(name, func(t *testing.T) {
			expectLines(t, audited(func(ctx context.Context) { Order(ctx, test.before, test.after, account) }), test.want...)
		})
	}
}

func TestAuditProof(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "acct"},
		Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}, Wildcard: true,
	}}
	authz.Namespace, authz.Name = "ns", "order-0"
	authz.Status.Challenge = &v1alpha1.ChallengeStatus{Type: acme.DNS01, ValidatedAt: &at, Record: &v1alpha1.ValidationRecord{
		AddressUsed: "192.0.2.1:80", Resolver: "192.0.2.53:53", URLs: []string{"http://a.test/x"}, Records: []string{"_acme-challenge.a.test. TXT x"},
		Perspectives: []v1alpha1.PerspectiveRecord{{Name: "east", Valid: true, AddressUsed: "192.0.2.2:80"}, {Name: "west", Problem: "no route"}},
	}}
	expectLines(t, audited(func(ctx context.Context) { Proof(ctx, authz) }), []string{
		`"msg"="control proved"`, `"issuerNamespace"="ns"`, `"issuer"="ca"`, `"account"="acct"`, `"authorization"="order-0"`,
		`"identifiers"=["*.a.test"]`, `"challenge"="dns-01"`, `"validatedAt"="2026-01-02T03:04:05Z"`, `"addressUsed"="192.0.2.1:80"`,
		`"resolver"="192.0.2.53:53"`, `"urls"=["http://a.test/x"]`, `"records"=["_acme-challenge.a.test. TXT x"]`,
		`"perspective.east"="confirmed from 192.0.2.2:80"`, `"perspective.west"="no route"`,
	})
	authz.Status.Challenge.Record = nil
	expectLines(t, audited(func(ctx context.Context) { Proof(ctx, authz) }), []string{`"msg"="control proved"`, `"challenge"="dns-01"`})
}

func TestAuditAccount(t *testing.T) {
	account := func(state acme.State, thumbprint string) *v1alpha1.AcmeAccount {
		a := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}}}
		a.Namespace, a.Name, a.Status.State, a.Status.Thumbprint = "ns", "acct", state, thumbprint
		return a
	}
	refusal := func(request string, problem acme.ProblemType) []kube.Refusal {
		return []kube.Refusal{{Request: request, Problem: acme.NewProblem(problem, "no")}}
	}
	for name, test := range map[string]struct {
		before, after *v1alpha1.AcmeAccount
		refusals      []kube.Refusal
		want          [][]string
	}{
		"nothing":      {account(acme.StateValid, "one"), account(acme.StateValid, "one"), nil, nil},
		"accepted":     {account(acme.StatePending, ""), account(acme.StateValid, "one"), nil, [][]string{{`"msg"="account accepted"`, `"account"="acct"`, `"thumbprint"="one"`}}},
		"key changed":  {account(acme.StateValid, "one"), account(acme.StateValid, "two"), nil, [][]string{{`"msg"="account key changed"`, `"thumbprint"="two"`, `"oldThumbprint"="one"`}}},
		"ended":        {account(acme.StateValid, "one"), account(acme.StateDeactivated, "one"), nil, [][]string{{`"msg"="account ended"`, `"state"="deactivated"`}}},
		"refused":      {account(acme.StateValid, "one"), account(acme.StateValid, "one"), refusal("KeyChange", acme.Malformed), [][]string{{`"msg"="request refused"`, `"request"="KeyChange"`, `"problem"="malformed"`}}},
		"unregistered": {account(acme.StatePending, ""), account(acme.StateInvalid, ""), refusal("Registration", acme.BadPublicKey), [][]string{{`"msg"="request refused"`, `"request"="Registration"`, `"problem"="badPublicKey"`}}},
		"held":         {account(acme.StatePending, ""), account(acme.StatePending, ""), refusal("Registration", acme.Unauthorized), [][]string{{`"msg"="request refused"`, `"problem"="unauthorized"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			expectLines(t, audited(func(ctx context.Context) { Account(ctx, test.before, test.after, test.refusals) }), test.want...)
		})
	}
}

func TestAuditCAKeyAndCRL(t *testing.T) {
	root, err := ca.NewRoot(ca.CAConfig{CommonName: "Root", KeyAlgorithm: ca.ECDSAP256, Lifetime: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = "ns", "ca"
	expectLines(t, audited(func(ctx context.Context) {
		CAKey(ctx, CAKeyMade, issuer, "ca-root", root.Certificate, "root")
		CARevoked(ctx, issuer, "ca-intermediate", "5a01")
		CRLPublished(ctx, "ns", "ca", "s-0", "7", 0, time.Unix(0, 0))
	}),
		[]string{`"msg"="CA key made"`, `"secret"="ca-root"`, `"subject"="CN=Root"`, `"why"="root"`, `"serial"="` + fmt.Sprintf("%x", root.Certificate.SerialNumber) + `"`, `"keySHA256"="`},
		[]string{`"msg"="CA certificate revoked"`, `"secret"="ca-intermediate"`, `"serial"="5a01"`},
		[]string{`"msg"="CRL published"`, `"shard"="s-0"`, `"number"="7"`, `"entries"=0`, `"nextUpdate"="1970-01-01T00:00:00Z"`})
}
