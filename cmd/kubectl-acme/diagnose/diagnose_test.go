package diagnose_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/diagnose"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func at(d time.Duration) *metav1.Time { t := metav1.NewTime(now.Add(d)); return &t }

// world are the facts of an order without problems, which a test changes.
type world struct {
	diagnose.Facts
	authz *v1alpha1.AcmeAuthorization
}

func healthy() *world {
	dns := v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}
	issuer := &v1alpha1.AcmeIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "ca"},
		Spec: v1alpha1.AcmeIssuerSpec{
			Profiles:   []v1alpha1.Profile{{Name: "default"}},
			Challenges: v1alpha1.Challenges{Types: []acme.ChallengeType{acme.HTTP01}},
			Validation: v1alpha1.Validation{HTTPPort: 80, TLSPort: 443, ClusterDomain: "cluster.local"},
			Lifetimes:  v1alpha1.Lifetimes{Order: metav1.Duration{Duration: time.Hour}, PendingAuthorization: metav1.Duration{Duration: time.Hour}},
		},
	}
	setReady(issuer, metav1.ConditionTrue, v1alpha1.ReasonReady, "certificates are issued")
	authz := &v1alpha1.AcmeAuthorization{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "authz1"},
		Spec:       v1alpha1.AcmeAuthorizationSpec{Identifier: dns, Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01}}},
		Status:     v1alpha1.AcmeAuthorizationStatus{State: acme.StateValid, Expires: at(time.Hour)},
	}
	return &world{authz: authz, Facts: diagnose.Facts{
		Now: now, Issuer: issuer, Authorizations: []*v1alpha1.AcmeAuthorization{authz},
		Account: &v1alpha1.AcmeAccount{ObjectMeta: metav1.ObjectMeta{Name: "account1"}, Status: v1alpha1.AcmeAccountStatus{State: acme.StateValid}},
		Order: &v1alpha1.AcmeOrder{
			ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "order1"},
			Spec:       v1alpha1.AcmeOrderSpec{Identifiers: []v1alpha1.Identifier{dns}, Authorizations: []string{"authz1"}},
			Status:     v1alpha1.AcmeOrderStatus{State: acme.StatePending},
		},
	}}
}

func setReady(issuer *v1alpha1.AcmeIssuer, status metav1.ConditionStatus, reason, message string) {
	issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message}}
}

// challengeFailed fails order and authorization as the controllers do.
func (w *world) challengeFailed(challenge acme.ChallengeType, problem acme.ProblemType, detail string) {
	p := &v1alpha1.Problem{Type: problem, Detail: detail}
	w.authz.Status = v1alpha1.AcmeAuthorizationStatus{State: acme.StateInvalid, Problem: p, Challenge: &v1alpha1.ChallengeStatus{
		Type: challenge, State: acme.StateInvalid, Problem: p, Attempts: 3,
		Record: &v1alpha1.ValidationRecord{Resolver: "10.0.0.10:53", AddressUsed: "10.0.0.7:80"},
	}}
	w.orderFailed(problem, detail)
}

func (w *world) orderFailed(problem acme.ProblemType, detail string) {
	w.Order.Status.State, w.Order.Status.Problem = acme.StateInvalid, &v1alpha1.Problem{Type: problem, Detail: detail}
}

func TestOrder(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*world)
		want  []string
	}{
		"all is well": {func(w *world) {
			w.Order.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "5a", NotAfter: at(time.Hour)}
		}, []string{"is valid: the certificate 5a was issued", "valid until 2030-01-02T04:04:05Z"}},
		"the certificate has expired": {func(w *world) {
			w.Order.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "5a", NotAfter: at(-time.Hour)}
		}, []string{"is expired", "2030-01-02T02:04:05Z", "a later order"}},
		"nobody listens": {func(w *world) {
			w.challengeFailed(acme.HTTP01, acme.Connection, "connecting to 10.0.0.7:80: connection refused")
		}, []string{"connection refused (connection)", "Nothing usable answers at 10.0.0.7:80", "NetworkPolicies"}},
		"another answers": {func(w *world) {
			w.challengeFailed(acme.HTTP01, acme.IncorrectResponse, "http://a.test/ isn't the key authorization")
		}, []string{"(incorrectResponse)", "Another server than the client answers at 10.0.0.7:80"}},
		"another answers by TLS": {func(w *world) {
			w.challengeFailed(acme.TLSALPN01, acme.Unauthorized, "did not negotiate the protocol")
		}, []string{"acme-tls/1"}},
		"the name doesn't exist": {func(w *world) {
			w.challengeFailed(acme.HTTP01, acme.DNSProblem, `"a.test" doesn't exist (NXDOMAIN from 10.0.0.10:53)`)
		}, []string{"NXDOMAIN", "Create the A or AAAA record of a.test", "10.0.0.10:53 was queried"}},
		"the TXT record isn't there": {func(w *world) {
			w.challengeFailed(acme.DNS01, acme.Unauthorized, `"_acme-challenge.a.test" has no TXT record`)
		}, []string{"has no TXT record", "dig TXT _acme-challenge.a.test @10.0.0.10"}},
		"the lasting TXT record isn't there": {func(w *world) {
			w.challengeFailed(acme.DNSPersist01, acme.Unauthorized, `"_validation-persist.a.test" has no TXT record`)
		}, []string{"has no TXT record", "dig TXT _validation-persist.a.test @10.0.0.10"}},
		"the address is denied": {func(w *world) {
			w.challengeFailed(acme.HTTP01, acme.Connection, `this CA may not connect to "a.test": 169.254.169.254 is a link-local address`)
		}, []string{"may not connect", "spec.validation.allowedCIDRs"}},
		"redirects go round": {func(w *world) {
			w.challengeFailed(acme.HTTP01, acme.Connection, `the redirects from "http://a.test" form a loop`)
		}, []string{"form a loop", "the redirects of"}},
		"CAA forbids it": {func(w *world) {
			w.Issuer.Spec.Validation.CAAIdentities = []string{"ca.test"}
			w.challengeFailed(acme.HTTP01, acme.CAA, "the CAA records of a.test forbid issuance")
		}, []string{"(caa)", `issue "ca.test"`}},
		"several names failed": {func(w *world) {
			w.orderFailed(acme.Compound, "2 of 2 identifiers were not authorized")
			w.Order.Status.Problem.Subproblems = []v1alpha1.Subproblem{{Type: acme.CAA, Detail: "forbidden", Identifier: &v1alpha1.Identifier{Value: "b.test"}}}
		}, []string{"2 of 2", "b.test: forbidden (caa)", "Name this issuer in a CAA record"}},
		"the CSR is bad": {func(w *world) {
			w.orderFailed(acme.BadCSR, "the key is too short")
		}, []string{"(badCSR)", "new key and CSR", "keyAlgorithms"}},
		"the key is compromised": {func(w *world) {
			w.orderFailed(acme.BadCSR, "the certificate's key is known to be compromised; generate a new key")
		}, []string{"revoked with keyCompromise"}},
		"the client took too long": {func(w *world) {
			w.orderFailed(acme.Malformed, "the order was not finished before it expired at 2030-01-01T00:00:00Z")
		}, []string{"before it expired", "The order lasts 1h0m0s (spec.lifetimes.order)"}},
		"the client never tried": {func(w *world) {
			w.orderFailed(acme.Unauthorized, "control of the identifier was not proved in time")
		}, []string{"spec.lifetimes.pendingAuthorization"}},
		"another client revoked the certificate": {func(w *world) {
			w.orderFailed(acme.Unauthorized, "the certificate with the serial number 5a01 was revoked, but not by this account")
		}, []string{"find out who revoked the certificate", "prove control of the names again"}},
		"a person deactivated the account": {func(w *world) {
			w.Account.Status.State = acme.StateRevoked
			w.orderFailed(acme.Unauthorized, "the account is revoked")
		}, []string{"the account is revoked", "A person deactivated the account"}},
		"the account has ended, and the order is not processed yet": {func(w *world) {
			w.Account.Status.State = acme.StateDeactivated
		}, []string{"its account is deactivated", "a new account key"}},
		"the account is gone": {func(w *world) { w.Account = nil }, []string{"its account doesn't exist", "backup"}},
		"the issuer is gone":  {func(w *world) { w.Issuer = nil }, []string{"its issuer doesn't exist", "under the same name"}},
		"the issuer's Secret is missing": {func(w *world) {
			setReady(w.Issuer, metav1.ConditionFalse, v1alpha1.ReasonCAUnavailable, `there is no Secret "ca"`)
		}, []string{"waits for its issuer ca", `there is no Secret "ca"`, "Create or correct that Secret in namespace pki"}},
		"the issuer is suspended": {func(w *world) {
			setReady(w.Issuer, metav1.ConditionFalse, v1alpha1.ReasonSuspended, "spec.suspend is set: nothing is issued")
		}, []string{"which is suspended", `"suspend":false`}},
		"an authorization is gone": {func(w *world) { w.Authorizations[0] = nil }, []string{"authorization authz1 doesn't exist"}},
		"the client has chosen no challenge": {func(w *world) {
			w.authz.Status.State = acme.StatePending
		}, []string{"control of a.test is not proved", "chosen none of the offered challenges", "(http-01)"}},
		"an attempt failed": {func(w *world) {
			w.authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01}
			w.authz.Status = v1alpha1.AcmeAuthorizationStatus{State: acme.StatePending, Challenge: &v1alpha1.ChallengeStatus{
				Type: acme.HTTP01, State: acme.StateProcessing, Attempts: 2, Problem: &v1alpha1.Problem{Type: acme.Connection, Detail: "timed out"}}}
		}, []string{"attempt 2 of http-01 failed and will be retried: timed out", "a.test:80"}},
		"the client has not finalized yet": {func(*world) {}, []string{"not finalized yet", "badCSR"}},
		"CAA is being checked": {func(w *world) {
			w.Order.Spec.Finalization = &v1alpha1.Finalization{}
			w.Order.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonCheckingCAA, Message: "CAA records are checked"}}
		}, []string{"CAA records are checked (CheckingCAA)"}},
		"it was revoked for its key": {func(w *world) {
			w.Order.Annotations = map[string]string{v1alpha1.RevokedByAnnotation: "jane"}
			w.Order.Spec.Revocation = &v1alpha1.Revocation{Reason: 1}
			w.Order.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "5a", RevokedAt: at(-time.Hour), KeyFingerprint: "ff"}
		}, []string{"is revoked", "as requested by jane", "keyCompromise", "stays blocked"}},
		"a client may not revoke it": {func(w *world) {
			w.Order.Spec.Revocation = &v1alpha1.Revocation{Request: &v1alpha1.SignedRequest{Protected: "x"}}
			w.Order.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Revocation: &v1alpha1.HandledRequest{
				Digest: w.Order.Spec.Revocation.Digest(), Problem: &v1alpha1.Problem{Type: acme.Unauthorized, Detail: "not authorized"}}}
		}, []string{"request to revoke it was refused: not authorized", "kubectl acme revoke order1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := healthy()
			test.spoil(w)
			got := diagnose.Order(w.Facts).Paragraph()
			if !strings.HasPrefix(got, "Order order1 for a.test is ") || strings.Contains(got, "\n") || !strings.HasSuffix(got, ".") {
				t.Errorf("no paragraph: %q", got)
			}
			contains(t, got, test.want...)
		})
	}
}

func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(got, text) {
			t.Errorf("%q isn't in: %s", text, got)
		}
	}
}

func TestAuthorization(t *testing.T) {
	w := healthy()
	contains(t, diagnose.Authorization(w.Facts).Paragraph(), "Authorization authz1 for a.test is valid", "valid until")
	w.challengeFailed(acme.HTTP01, acme.Connection, "connecting to 10.0.0.7:80: connection refused")
	contains(t, diagnose.Authorization(w.Facts).Paragraph(), "http-01 failed after 3 attempts", "connection refused", "10.0.0.7:80")
	w.authz.Status = v1alpha1.AcmeAuthorizationStatus{State: acme.StateRevoked}
	w.authz.Spec.Deactivation = &v1alpha1.Deactivation{}
	contains(t, diagnose.Authorization(w.Facts).Paragraph(), "a person deactivated it")
	w.authz.Spec.Deactivation.Request = &v1alpha1.SignedRequest{}
	contains(t, diagnose.Authorization(w.Facts).Paragraph(), "the client deactivated it")
}

func TestAccount(t *testing.T) {
	w := healthy()
	w.Account.Status.ExternalAccountKeyID = "team-a"
	contains(t, diagnose.Account(w.Facts).Paragraph(), "it has no problem", "team-a")
	w.Issuer.Spec.RateLimits.NewOrders = &v1alpha1.RateLimit{Count: 2, Period: metav1.Duration{Duration: time.Hour}}
	w.Ordered = []time.Time{now.Add(-time.Minute), now.Add(-2 * time.Hour)}
	if d := diagnose.Account(w.Facts); !d.OK {
		t.Error(d.Paragraph())
	}
	w.Ordered = append(w.Ordered, now.Add(-30*time.Minute))
	contains(t, diagnose.Account(w.Facts).Paragraph(), "is rate limited", "2 orders in 1h0m0s", "accepted at 2030-01-02T03:34:05Z", "spec.rateLimits")
	w.Ordered = nil
	w.Account.Status.KeyChange = &v1alpha1.HandledRequest{Problem: &v1alpha1.Problem{Type: acme.Malformed, Detail: "the new key is taken"}}
	contains(t, diagnose.Account(w.Facts).Paragraph(), "its last key change was refused: the new key is taken")
	w.Account.Status = v1alpha1.AcmeAccountStatus{State: acme.StateRevoked}
	contains(t, diagnose.Account(w.Facts).Paragraph(), "a person deactivated it")
}

func TestIssuer(t *testing.T) {
	w := healthy()
	if d := diagnose.Issuer(w.Facts); !d.OK || d.State != "ready" {
		t.Error(d)
	}
	w.Refusals = []diagnose.Refusal{{Time: now, Object: "account2", Reason: "RegistrationRefused",
		Note: "unauthorized: the external account binding is not accepted: its key id is unknown, or the key is wrong, expired or used"}}
	contains(t, diagnose.Issuer(w.Facts).Paragraph(), "1 registrations were refused", "account2", "binding is not accepted", "kubectl acme eab list")
	contains(t, diagnose.Refused(w.Refusals[0]).Paragraph(), "Account account2 is refused", "eab create")
	for reason, want := range map[string]string{
		v1alpha1.ReasonInvalidSpec: "Correct the field", v1alpha1.ReasonSecretUnavailable: "Create or correct", v1alpha1.ReasonDegraded: "issuance continues",
	} {
		setReady(w.Issuer, metav1.ConditionFalse, reason, "the message")
		contains(t, diagnose.Issuer(w.Facts).Paragraph(), "the message", want)
	}
	w.Issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{}
	setReady(w.Issuer, metav1.ConditionFalse, v1alpha1.ReasonCAUnavailable, "no Secret")
	contains(t, diagnose.Issuer(w.Facts).Paragraph(), "Restore that Secret, which has the CA's key, from a backup")
	w.Issuer.Status.Conditions = nil
	contains(t, diagnose.Issuer(w.Facts).Paragraph(), "no controller has processed it")
}

func TestName(t *testing.T) {
	w := healthy()
	w.Issuer.Spec.Policy.DNS.Allow = []string{"corp.test"}
	w.Issuer.Status.DirectoryURL = "https://acme.test/acme/directory"
	issuers := []v1alpha1.AcmeIssuer{*w.Issuer}
	contains(t, diagnose.Name("a.test", issuers).Paragraph(), "Name a.test is refused", "issuer ca refuses it", "(rejectedIdentifier)", "spec.policy.dns.allow")
	contains(t, diagnose.Name("a.corp.test", issuers).Paragraph(), "can be ordered from ca (https://acme.test/acme/directory)", "has not requested it")
	contains(t, diagnose.Name("*.corp.test", issuers).Paragraph(), "offers no suitable challenge", "spec.challenges.types")
	contains(t, diagnose.Name("10.0.0.1", issuers).Paragraph(), "refuses it", "10.0.0.1")
	contains(t, diagnose.Name("a.test", nil).Paragraph(), "no issuer", "-n")
}
