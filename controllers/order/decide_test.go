package order

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/ca/catest"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/policy"
)

const (
	base = "https://acme.test"
	day  = 24 * time.Hour
)

// ordered is when the orders of these tests were created; now is a minute later.
var (
	ordered = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	now     = ordered.Add(time.Minute)
)

// situation is an order with the facts about it.
type situation struct {
	t          *testing.T
	order      *v1alpha1.AcmeOrder
	facts      facts
	key, other crypto.Signer // of the account, and of another account
	leaf       crypto.Signer
}

// newSituation returns a finalized order of two authorized names, which is to be issued.
func newSituation(t *testing.T) *situation {
	t.Helper()
	s := &situation{t: t, key: jwstest.NewKey(t, "ES256"), other: jwstest.NewKey(t, "ES256"), leaf: jwstest.NewKey(t, "ES256")}
	s.facts = facts{now: now, issuer: newIssuer(t), account: newAccount(t, "acct", s.key)}
	s.order = &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "acct"}}}
	s.order.Namespace, s.order.Name, s.order.UID = "ns", v1alpha1.NewObjectName(ordered), "uid"
	s.order.CreationTimestamp, s.order.Generation = metav1.NewTime(ordered), 2
	s.order.Status.State = acme.StatePending
	for i, name := range []string{"a.test", "b.test"} {
		authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: s.order.Spec.IssuerRef, AccountRef: s.order.Spec.AccountRef, Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: name},
		}}
		authz.Name = v1alpha1.OwnAuthorization(s.order.Name, i)
		authz.Status.State, authz.Status.Expires = acme.StateValid, &metav1.Time{Time: now.Add(time.Hour)}
		s.facts.authorizations = append(s.facts.authorizations, authz)
		s.order.Spec.Identifiers = append(s.order.Spec.Identifiers, authz.Spec.Identifier)
		s.order.Spec.Authorizations = append(s.order.Spec.Authorizations, authz.Name)
	}
	s.finalize(s.key, s.csr(s.leaf, "a.test", "b.test"))
	return s
}

func newIssuer(t *testing.T) *issuers.Issuer {
	t.Helper()
	profile, err := ca.NewProfile(ca.ProfileConfig{Name: "default", Lifetime: 90 * day, Backdate: time.Hour})
	must(t, err)
	issuer := &issuers.Issuer{
		Name: "ca", Bases: []acme.Base{acme.Base(base)}, PlainBase: "http://acme.test/ns/ca", Authority: catest.Authority(t, now), Profiles: map[string]*ca.Profile{"default": profile},
	}
	issuer.Spec.Lifetimes.Order.Duration = 168 * time.Hour
	issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "default", MaxIdentifiers: 10, Lifetime: metav1.Duration{Duration: 90 * day}}}
	issuer.Spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01}
	issuer.Policy, err = policy.New(&issuer.Spec)
	must(t, err)
	return issuer
}

func newAccount(t *testing.T, name string, key crypto.Signer) *v1alpha1.AcmeAccount {
	t.Helper()
	account := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}}}
	account.Namespace, account.Name = "ns", name
	account.Status.State, account.Status.JWK = acme.StateValid, string(jwstest.Key(t, key).JSON())
	return account
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *situation) csr(key crypto.Signer, names ...string) []byte {
	s.t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	must(s.t, err)
	return der
}

// sign returns a request of an account.
func (s *situation) sign(key crypto.Signer, account, path string, payload any) *v1alpha1.SignedRequest {
	s.t.Helper()
	header := jwstest.Header{"kid": base + "/" + acme.AccountPath(account), "url": base + "/" + path, "nonce": "bm9uY2U"}
	request := &v1alpha1.SignedRequest{}
	must(s.t, json.Unmarshal(jwstest.Sign(s.t, key, header, payload), request))
	return request
}

func (s *situation) finalize(key crypto.Signer, csr []byte) {
	s.t.Helper()
	payload := map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)}
	s.order.Spec.Finalization = &v1alpha1.Finalization{
		Request: *s.sign(key, "acct", acme.FinalizePath(s.order.Name), payload), Time: metav1.NewTime(ordered.Add(30 * time.Second)),
	}
}

func (s *situation) unfinalize() { s.order.Spec.Finalization = nil }

// enforceCAA makes the issuer check CAA, as it did not when the names were validated.
func (s *situation) enforceCAA() { s.facts.issuer.Spec.Validation.CAA = v1alpha1.CAAEnforce }

// expectation is what a decision has to be.
type expectation struct {
	problem acme.ProblemType // that fails the order
	detail  string           // a part of the problem or of the condition
	refuses string           // the request that is reported as refused
	recheck bool
	state   acme.State
	reason  string // of the condition
	wait    time.Duration
	issues  bool
	checks  int // names whose CAA records are to be checked
}

const week = 168*time.Hour - time.Minute // until the order expires

func TestDecideIssuing(t *testing.T) {
	replaces := acme.NewCertID([]byte{1, 2, 3}, big.NewInt(12345)).String()
	refusedNames := []acme.Problem{*acme.NewProblem(acme.CAA, "CAA forbids a.test")}
	for name, c := range map[string]struct {
		change func(*situation)
		want   expectation
	}{
		"everything is right":      {func(*situation) {}, expectation{issues: true, wait: week}},
		"it has just been created": {func(s *situation) { s.facts.now = ordered }, expectation{issues: true, wait: 168 * time.Hour}},

		// Names and times of creation.
		"created long after its name":  {func(s *situation) { s.order.CreationTimestamp.Time = ordered.Add(11 * time.Minute) }, expectation{problem: acme.ServerInternal, detail: "not created at the time in its name"}},
		"created long before its name": {func(s *situation) { s.order.CreationTimestamp.Time = ordered.Add(-11 * time.Minute) }, expectation{problem: acme.ServerInternal, detail: "not created at the time in its name"}},
		"a name without a time":        {func(s *situation) { s.order.Name = "n1" }, expectation{problem: acme.ServerInternal, detail: "not created at the time in its name"}},
		"a bad name without an issuer": {func(s *situation) { s.order.Name, s.facts.issuer = "n1", nil }, expectation{problem: acme.ServerInternal, detail: "not created at the time in its name"}},

		// The issuer.
		"the issuer is deleted":                          {func(s *situation) { s.facts.issuer, s.facts.issuerEnding = nil, true }, expectation{problem: acme.ServerInternal, detail: `the issuer "ca" was deleted`}},
		"the issuer is not loaded":                       {func(s *situation) { s.facts.issuer = nil }, expectation{}},
		"the issuer can't issue":                         {func(s *situation) { s.facts.issuer, s.facts.issuerFault = nil, "no key" }, expectation{reason: v1alpha1.ReasonIssuerNotReady, detail: "no key"}},
		"the issuer can't issue, which nobody waits for": {func(s *situation) { s.unfinalize(); s.facts.issuer, s.facts.issuerFault = nil, "no key" }, expectation{}},
		"the issuer is suspended":                        {func(s *situation) { s.facts.issuer.Spec.Suspend = true }, expectation{wait: week}},

		// The account.
		"the account is deactivated":               {func(s *situation) { s.facts.account.Status.State = acme.StateDeactivated }, expectation{problem: acme.Unauthorized, detail: "the account is deactivated", recheck: true}},
		"the account is revoked":                   {func(s *situation) { s.facts.account.Status.State = acme.StateRevoked }, expectation{problem: acme.Unauthorized, detail: "the account is revoked", recheck: true}},
		"the account is pending":                   {func(s *situation) { s.facts.account.Status.State = acme.StatePending }, expectation{problem: acme.Unauthorized, detail: "is not valid", recheck: true, refuses: "Finalization"}},
		"the account isn't there yet":              {func(s *situation) { s.facts.account, s.facts.now = nil, ordered.Add(time.Second) }, expectation{wait: time.Second}},
		"the account is gone":                      {func(s *situation) { s.facts.account = nil }, expectation{problem: acme.AccountDoesNotExist, detail: "there is no account acct", recheck: true}},
		"the account is gone, and there is no CSR": {func(s *situation) { s.facts.account = nil; s.unfinalize() }, expectation{state: acme.StateReady, reason: v1alpha1.ReasonAuthorized, wait: week}},
		"the account is another issuer's":          {func(s *situation) { s.facts.account.Spec.IssuerRef.Name = "other" }, expectation{problem: acme.Unauthorized, detail: "another issuer", recheck: true, refuses: "Finalization"}},
		"the terms have changed":                   {func(s *situation) { s.facts.issuer.Spec.Account.TermsOfService = "https://a.test/2" }, expectation{problem: acme.UserActionRequired, detail: "https://a.test/2", recheck: true}},

		// Expiry.
		"it has expired":       {func(s *situation) { s.facts.now = ordered.Add(168 * time.Hour) }, expectation{problem: acme.Malformed, detail: "was not finished before it expired at 2026-07-08T12:00:00Z"}},
		"it expires as stored": {func(s *situation) { s.order.Status.Expires = &metav1.Time{Time: now} }, expectation{problem: acme.Malformed, detail: "was not finished"}},

		// Replacement.
		"it replaces an unknown certificate":   {func(s *situation) { s.order.Spec.Replaces = replaces }, expectation{issues: true, wait: week}},
		"it replaces a certificate of its own": {func(s *situation) { s.order.Spec.Replaces, s.facts.replaced = replaces, s.order.DeepCopy() }, expectation{issues: true, wait: week}},
		"it replaces no certificate":           {func(s *situation) { s.order.Spec.Replaces = "x" }, expectation{problem: acme.Malformed}},
		"it replaces another account's certificate": {func(s *situation) {
			s.order.Spec.Replaces, s.facts.replaced = replaces, s.order.DeepCopy()
			s.facts.replaced.Spec.AccountRef.Name = "other"
		}, expectation{problem: acme.Malformed, detail: "another account"}},
		"it replaces a certificate for other names": {func(s *situation) {
			s.order.Spec.Replaces, s.facts.replaced = replaces, s.order.DeepCopy()
			s.facts.replaced.Spec.Identifiers = []v1alpha1.Identifier{{Type: acme.DNS, Value: "c.test"}}
		}, expectation{problem: acme.Malformed, detail: "shares no identifier"}},
		"another order replaces the certificate":                  {func(s *situation) { s.order.Spec.Replaces, s.facts.taken = replaces, true }, expectation{problem: acme.AlreadyReplaced}},
		"another order replaces it, before this one is finalized": {func(s *situation) { s.unfinalize(); s.order.Spec.Replaces, s.facts.taken = replaces, true }, expectation{problem: acme.AlreadyReplaced}},

		// Authorizations.
		"one authorization for two identifiers": {func(s *situation) {
			s.order.Spec.Authorizations, s.facts.authorizations = s.order.Spec.Authorizations[:1], s.facts.authorizations[:1]
		}, expectation{problem: acme.Malformed, detail: "1 authorizations for 2 identifiers"}},
		"two authorizations for one identifier": {func(s *situation) { s.order.Spec.Identifiers = s.order.Spec.Identifiers[:1] }, expectation{problem: acme.Malformed, detail: "2 authorizations for 1 identifiers"}},
		"no authorizations":                     {func(s *situation) { s.order.Spec.Authorizations, s.facts.authorizations = nil, nil }, expectation{problem: acme.Malformed, detail: "0 authorizations for 2 identifiers"}},
		"one is pending":                        {func(s *situation) { s.facts.authorizations[1].Status.State = acme.StatePending }, expectation{wait: week}},
		"one is invalid": {func(s *situation) {
			s.facts.authorizations[1].Status.State = acme.StateInvalid
			s.facts.authorizations[1].Status.Problem = &v1alpha1.Problem{Type: acme.Connection, Detail: "connection refused", Status: 400}
		}, expectation{problem: acme.Connection, detail: "connection refused", reason: "Connection"}},
		"one is invalid, for a type that a perspective made up": {func(s *situation) {
			s.facts.authorizations[1].Status.State = acme.StateInvalid
			s.facts.authorizations[1].Status.Problem = &v1alpha1.Problem{Type: "no such type", Detail: "x"}
		}, expectation{problem: "no such type", reason: "Failed"}},
		"both are invalid": {func(s *situation) {
			s.facts.authorizations[0].Status.State, s.facts.authorizations[1].Status.State = acme.StateInvalid, acme.StateInvalid
		}, expectation{problem: acme.Compound, detail: "2 of 2 identifiers were not authorized"}},
		"one is invalid and one pending": {func(s *situation) {
			s.facts.authorizations[0].Status.State, s.facts.authorizations[1].Status.State = acme.StatePending, acme.StateInvalid
		}, expectation{problem: acme.Unauthorized, detail: "the authorization is invalid"}},
		"one is deactivated":                        {func(s *situation) { s.facts.authorizations[0].Status.State = acme.StateDeactivated }, expectation{problem: acme.Unauthorized, detail: "the authorization is deactivated"}},
		"one has expired":                           {func(s *situation) { s.facts.authorizations[0].Status.Expires.Time = now }, expectation{problem: acme.Unauthorized, detail: "the authorization has expired"}},
		"one has no end":                            {func(s *situation) { s.facts.authorizations[0].Status.Expires = nil }, expectation{problem: acme.Unauthorized, detail: "the authorization has expired"}},
		"one is another account's":                  {func(s *situation) { s.facts.authorizations[0].Spec.AccountRef.Name = "other" }, expectation{problem: acme.Unauthorized, detail: "another account or issuer"}},
		"one is another issuer's":                   {func(s *situation) { s.facts.authorizations[0].Spec.IssuerRef.Name = "other" }, expectation{problem: acme.Unauthorized, detail: "another account or issuer"}},
		"one is for another name":                   {func(s *situation) { s.facts.authorizations[0].Spec.Identifier.Value = "c.test" }, expectation{problem: acme.Unauthorized, detail: "the authorization is for"}},
		"one has no state":                          {func(s *situation) { s.facts.authorizations[0].Status.State = "" }, expectation{problem: acme.Unauthorized}},
		"one of its own waits for its client":       {func(s *situation) { s.unfinalize(); s.facts.authorizations[0] = nil }, expectation{wait: week}},
		"one of its own is gone after finalization": {func(s *situation) { s.facts.authorizations[0], s.facts.now = nil, now.Add(time.Minute) }, expectation{problem: acme.Unauthorized, detail: "-0 does not exist"}},
		"one of its own may not be cached yet":      {func(s *situation) { s.facts.authorizations[0], s.facts.now = nil, ordered.Add(40*time.Second) }, expectation{wait: time.Second}},
		"one of its own is gone, and the request is from the future": {func(s *situation) {
			s.facts.authorizations[0] = nil
			s.order.Spec.Finalization.Time.Time = now.Add(time.Hour)
		}, expectation{problem: acme.Unauthorized, detail: "-0 does not exist"}},
		"another one isn't cached yet": {func(s *situation) {
			s.unfinalize()
			s.order.Spec.Authorizations[1], s.facts.authorizations[1], s.facts.now = "other", nil, ordered.Add(29*time.Second)
		}, expectation{wait: time.Second}},
		"another one doesn't exist": {func(s *situation) {
			s.unfinalize()
			s.order.Spec.Authorizations[1], s.facts.authorizations[1] = "other", nil
		}, expectation{problem: acme.Unauthorized, detail: "the authorization other does not exist"}},

		// Ready.
		"ready for a while":    {func(s *situation) { s.unfinalize() }, expectation{state: acme.StateReady, reason: v1alpha1.ReasonAuthorized, wait: week}},
		"ready from the start": {func(s *situation) { s.unfinalize(); s.facts.now = ordered.Add(time.Second) }, expectation{wait: time.Second}},
		"ready for a moment": {func(s *situation) {
			s.unfinalize()
			s.facts.authorizations[1].Status.Challenge = &v1alpha1.ChallengeStatus{ValidatedAt: &metav1.Time{Time: now.Add(-500 * time.Millisecond)}}
		}, expectation{wait: 1500 * time.Millisecond}},
		"ready, as stored": {func(s *situation) { s.unfinalize(); s.order.Status.State = acme.StateReady }, expectation{wait: week}},

		// The finalize request.
		"signed with another key": {func(s *situation) { s.finalize(s.other, policy.StoredCSR(s.order)) }, expectation{problem: acme.Malformed, detail: "signature does not verify", recheck: true, refuses: "Finalization"}},
		"signed for another order": {func(s *situation) {
			s.order.Name = v1alpha1.NewObjectName(ordered)
			s.order.Spec.Authorizations[0] = "x"
		}, expectation{problem: acme.Unauthorized, detail: "signed for another URL", recheck: true, refuses: "Finalization"}},
		"no CSR at all":               {func(s *situation) { s.finalize(s.key, []byte("no CSR")) }, expectation{problem: acme.BadCSR, recheck: true}},
		"a CSR for one name too many": {func(s *situation) { s.finalize(s.key, s.csr(s.leaf, "a.test", "b.test", "c.test")) }, expectation{problem: acme.BadCSR, detail: "c.test", recheck: true}},
		"a CSR for one name too few":  {func(s *situation) { s.finalize(s.key, s.csr(s.leaf, "a.test")) }, expectation{problem: acme.BadCSR, recheck: true}},
		"the account's own key":       {func(s *situation) { s.finalize(s.key, s.csr(s.key, "a.test", "b.test")) }, expectation{problem: acme.BadCSR, detail: "account", recheck: true}},
		"another account's key":       {func(s *situation) { s.facts.keyProblem = policy.AccountKeyUsed() }, expectation{problem: acme.BadCSR, detail: "the key of an account", recheck: true}},
		"a compromised key":           {func(s *situation) { s.facts.keyProblem = acme.NewProblem(acme.BadCSR, "compromised") }, expectation{problem: acme.BadCSR, detail: "compromised", recheck: true}},
		"the CA's key":                {func(s *situation) { s.facts.issuer.CAKeys = []crypto.PublicKey{s.leaf.Public()} }, expectation{problem: acme.BadCSR, detail: "CA", recheck: true}},
		"a name that isn't allowed any more": {func(s *situation) {
			s.facts.issuer.Spec.Policy.DNS.Deny = []string{"b.test"}
			s.facts.issuer.Policy, _ = policy.New(&s.facts.issuer.Spec)
		}, expectation{problem: acme.RejectedIdentifier, detail: "b.test", recheck: true}},
		"a profile that is gone": {func(s *situation) { s.order.Spec.Profile = "gone" }, expectation{problem: acme.InvalidProfile, recheck: true}},
		"more names than the profile allows": {func(s *situation) {
			s.facts.issuer.Spec.Profiles[0].MaxIdentifiers = 1
			s.facts.issuer.Policy, _ = policy.New(&s.facts.issuer.Spec)
		}, expectation{problem: acme.Malformed, detail: "at most 1 identifiers", recheck: true}},

		// CAA.
		"CAA is due":                    {func(s *situation) { s.enforceCAA() }, expectation{checks: 2, wait: week}},
		"CAA is due for one name":       {func(s *situation) { s.enforceCAA(); s.checked(0, now.Add(-7*time.Hour)) }, expectation{checks: 1, wait: week}},
		"CAA was checked at validation": {func(s *situation) { s.enforceCAA(); s.checked(0, now); s.checked(1, now) }, expectation{issues: true, wait: week}},
		"CAA was checked long ago":      {func(s *situation) { s.enforceCAA(); s.checked(0, now.Add(-9*time.Hour)); s.checked(1, now) }, expectation{checks: 1, wait: week}},
		"CAA of a parent domain was checked": {func(s *situation) {
			s.enforceCAA()
			s.checked(0, now)
			s.checked(1, now)
			s.facts.issuer.Spec.Challenges.Subdomains = true
			authz := s.facts.authorizations[1]
			authz.Spec.Identifier.Value, authz.Spec.Subdomains, authz.Status.Challenge.Type = "test", true, acme.DNS01
		}, expectation{checks: 1, wait: week}},
		"CAA permits":          {func(s *situation) { s.enforceCAA(); s.facts.caa = attempts.CAAVerdict{Permitted: true, Final: true} }, expectation{issues: true, wait: week}},
		"CAA is being checked": {func(s *situation) { s.enforceCAA(); s.facts.caa.Running = true }, expectation{wait: week}},
		"CAA is being checked again": {func(s *situation) {
			s.enforceCAA()
			s.facts.caa = attempts.CAAVerdict{Running: true, Refused: refusedNames}
		}, expectation{wait: week, reason: v1alpha1.ReasonCheckingCAA, detail: "a.test"}},
		"CAA is to be checked again": {func(s *situation) { s.enforceCAA(); s.facts.caa = attempts.CAAVerdict{Refused: refusedNames} }, expectation{wait: week, checks: 2, reason: v1alpha1.ReasonCheckingCAA, detail: "a.test"}},
		"CAA forbids": {func(s *situation) {
			s.enforceCAA()
			s.facts.caa = attempts.CAAVerdict{Final: true, Refused: refusedNames}
		}, expectation{problem: acme.CAA, detail: "a.test"}},
		"CAA forbids both": {func(s *situation) {
			s.enforceCAA()
			s.facts.caa = attempts.CAAVerdict{Final: true, Refused: append(refusedNames, refusedNames...)}
		}, expectation{problem: acme.Compound, detail: "2 of 2 identifiers"}},
		"CAA is due, and the signature is bad": {func(s *situation) { s.enforceCAA(); s.finalize(s.other, policy.StoredCSR(s.order)) }, expectation{problem: acme.Malformed, recheck: true, refuses: "Finalization"}},
		"CAA is due, and the CSR is bad":       {func(s *situation) { s.enforceCAA(); s.finalize(s.key, s.csr(s.leaf, "a.test")) }, expectation{problem: acme.BadCSR, recheck: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			c.change(s)
			s.expect(c.want)
		})
	}
}

// expect decides, and fails the test unless the decision is as expected.
func (s *situation) expect(want expectation) {
	t := s.t
	t.Helper()
	got := s.decide()
	if want.problem != "" {
		want.state = acme.StateInvalid
	}
	var problem acme.ProblemType
	var text []string
	if got.problem != nil {
		problem, text = got.problem.Type, append(text, got.problem.Detail)
	}
	var reason string
	if got.condition != nil {
		reason, text = got.condition.Reason, append(text, got.condition.Message)
	}
	if problem != want.problem || got.recheck != want.recheck || refused(got) != want.refuses || got.state != want.state || got.wait != want.wait ||
		(got.issue != nil) != want.issues || len(got.checkCAA) != want.checks || want.reason != "" && reason != want.reason {
		t.Errorf("%s %q (%s), recheck %t, refuses %q, state %q, wait %v, issues %t, %d CAA checks; want %+v",
			problem, text, reason, got.recheck, refused(got), got.state, got.wait, got.issue != nil, len(got.checkCAA), want)
	}
	if !strings.Contains(strings.Join(text, "\n"), want.detail) {
		t.Errorf("%q isn't in %q", want.detail, text)
	}
}

// refused returns the request that a step reports as refused, if that is for the step's problem.
func refused(s step) string {
	if len(s.refusals) != 1 || s.refusals[0].Problem != s.problem {
		return ""
	}
	return s.refusals[0].Request
}

// decide decides, and fails the test if the decision changes order or facts, or is another one the second time.
func (s *situation) decide() step {
	s.t.Helper()
	order, account := s.order.DeepCopy(), s.facts.account.DeepCopy()
	got := decide(s.order, s.facts)
	if !reflect.DeepEqual(order, s.order) || !reflect.DeepEqual(account, s.facts.account) {
		s.t.Error("the decision changed the order or the account")
	}
	if again := decide(s.order, s.facts); !reflect.DeepEqual(again.problem, got.problem) || again.state != got.state || again.wait != got.wait {
		s.t.Errorf("%+v, and then %+v", got, again)
	}
	return got
}

// checked stores when CAA was checked at a name's validation.
func (s *situation) checked(i int, at time.Time) {
	s.facts.authorizations[i].Status.Challenge = &v1alpha1.ChallengeStatus{CAACheckedAt: &metav1.Time{Time: at}}
}

func TestFinalizedAt(t *testing.T) {
	for name, c := range map[string]struct{ requested, at, skew time.Duration }{
		"between creation and now": {30 * time.Second, 30 * time.Second, 0},
		"at creation":              {0, 0, 0},
		"now":                      {time.Minute, time.Minute, 0},
		"before creation":          {-time.Hour, 0, time.Hour},
		"in the future":            {time.Hour, time.Minute, 59 * time.Minute},
	} {
		s := newSituation(t)
		s.order.Spec.Finalization.Time.Time = ordered.Add(c.requested)
		got := s.decide()
		if got.issue == nil {
			t.Fatalf("%s: %+v", name, got.problem)
		}
		if !got.issue.request.FinalizedAt.Equal(ordered.Add(c.at)) || got.issue.skew != c.skew {
			t.Errorf("%s: %v, off by %v", name, got.issue.request.FinalizedAt, got.issue.skew)
		}
		certificate, err := s.facts.issuer.Authority.Issue(got.issue.profile, got.issue.request)
		must(t, err)
		if want := ordered.Add(c.at - time.Hour); !certificate.NotBefore.Equal(want) {
			t.Errorf("%s: valid from %v, want %v", name, certificate.NotBefore, want)
		}
	}
	behind := newSituation(t) // the controllers' clock is behind the API server's
	behind.facts.now = ordered.Add(-30 * time.Second)
	if got := behind.decide(); got.issue == nil || !got.issue.request.FinalizedAt.Equal(ordered) {
		t.Errorf("%+v", got)
	}
}

func TestStages(t *testing.T) {
	gone := func(o *v1alpha1.AcmeOrder) { o.DeletionTimestamp = &metav1.Time{Time: now} }
	asked := func(o *v1alpha1.AcmeOrder) { o.Spec.Revocation = &v1alpha1.Revocation{Reason: 1} }
	revoked := func(o *v1alpha1.AcmeOrder) {
		asked(o)
		o.Status.RevokedAt = &metav1.Time{Time: now}
		o.Status.Revocation = &v1alpha1.HandledRequest{Digest: o.Spec.Revocation.Digest()}
	}
	refused := func(o *v1alpha1.AcmeOrder) {
		asked(o)
		o.Status.Revocation = &v1alpha1.HandledRequest{Digest: o.Spec.Revocation.Digest(), Problem: &v1alpha1.Problem{}}
	}
	kept := func(o *v1alpha1.AcmeOrder) { o.Finalizers = []string{v1alpha1.RevocationFinalizer} }
	type changes []func(*v1alpha1.AcmeOrder)
	for name, c := range map[string]struct {
		state   acme.State
		changes changes
		ending  bool // the issuer
		stage   stage
		removes bool // the finalizer
	}{
		"pending":                             {acme.StatePending, nil, false, stageIssue, false},
		"new":                                 {"", nil, false, stageIssue, false},
		"pending, to be revoked":              {acme.StatePending, changes{asked}, false, stageIssue, false},
		"pending, deleted":                    {acme.StatePending, changes{gone}, false, stageRelease, true},
		"invalid":                             {acme.StateInvalid, nil, false, stageDone, false},
		"invalid, to be revoked":              {acme.StateInvalid, changes{asked}, false, stageDone, false},
		"invalid, to be revoked, deleted":     {acme.StateInvalid, changes{asked, gone}, false, stageRelease, true},
		"valid":                               {acme.StateValid, nil, false, stageDone, false},
		"valid, deleted":                      {acme.StateValid, changes{gone}, false, stageRelease, true},
		"to be revoked":                       {acme.StateValid, changes{asked}, false, stageRevoke, false},
		"to be revoked, without issuer":       {acme.StateValid, changes{asked, gone}, true, stageRevoke, true},
		"refused":                             {acme.StateValid, changes{refused}, false, stageDone, false},
		"refused, kept":                       {acme.StateValid, changes{refused, kept}, false, stageRelease, true},
		"refused, asked again, kept":          {acme.StateValid, changes{refused, kept, func(o *v1alpha1.AcmeOrder) { o.Status.Revocation.Digest = "earlier" }}, false, stageRevoke, false},
		"revoked, kept":                       {acme.StateValid, changes{revoked, kept}, false, stageDone, false},
		"valid, of an earlier version":        {acme.StateValid, changes{kept}, false, stageDone, false},
		"refused, deleted":                    {acme.StateValid, changes{refused, gone}, false, stageRelease, true},
		"revoked":                             {acme.StateValid, changes{revoked}, false, stageDone, false},
		"revoked, deleted":                    {acme.StateValid, changes{revoked, gone}, false, stageRelease, false},
		"revoked, deleted, without an issuer": {acme.StateValid, changes{revoked, gone}, true, stageRelease, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			s.facts.issuer, s.facts.issuerEnding = nil, c.ending
			s.order.Status.State = c.state
			for _, change := range c.changes {
				change(s.order)
			}
			if got := stageOf(s.order); got != c.stage {
				t.Errorf("stage %d, want %d", got, c.stage)
			}
			if got := s.decide(); got.removeFinalizer != c.removes {
				t.Errorf("removes the finalizer: %t", got.removeFinalizer)
			}
		})
	}
}

func TestDecideRevoking(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*situation)
		problem acme.ProblemType // "" for a revocation
		detail  string
	}{
		"by a person":                 {func(s *situation) { s.order.Spec.Revocation.Request = nil }, "", ""},
		"by its account":              {func(*situation) {}, "", ""},
		"by its account, compromised": {func(s *situation) { s.revoke(s.key, "acct", ca.KeyCompromise) }, "", ""},
		"with another key":            {func(s *situation) { s.revoke(s.other, "acct", ca.Superseded) }, acme.Malformed, "does not verify"},
		"by an account that is gone":  {func(s *situation) { s.facts.revocation.account = nil }, acme.AccountDoesNotExist, "there is no account acct"},
		"by a deactivated account":    {func(s *situation) { s.facts.revocation.account.Status.State = acme.StateDeactivated }, acme.Unauthorized, "is not valid"},
		"for another reason":          {func(s *situation) { s.order.Spec.Revocation.Reason = 1 }, acme.Unauthorized, "another certificate or reason"},
		"for another certificate":     {func(s *situation) { s.facts.revocation.certificate = s.newCertificate() }, acme.Unauthorized, "another certificate or reason"},
		"without a certificate":       {func(s *situation) { s.facts.revocation.certificate = "" }, acme.ServerInternal, "the order has no certificate"},
		"garbled":                     {func(s *situation) { s.order.Spec.Revocation.Request.Protected = "x" }, acme.Malformed, ""},
		"with the certificate's key":  {func(s *situation) { s.revokeWithKey(s.leaf) }, "", ""},
		"with another certificate's":  {func(s *situation) { s.revokeWithKey(s.other) }, acme.Unauthorized, "not signed with the certificate's key"},
		"by another account":          {func(s *situation) { s.revokeAsOther(ca.Superseded) }, acme.Unauthorized, `account other is not authorized for "a.test"`},
		"by one with one name":        {func(s *situation) { s.revokeAsOther(ca.Superseded, "a.test") }, acme.Unauthorized, `account other is not authorized for "b.test"`},
		"by one with both names":      {func(s *situation) { s.revokeAsOther(ca.Superseded, "a.test", "b.test") }, "", ""},
		"by one, as compromised":      {func(s *situation) { s.revokeAsOther(ca.KeyCompromise, "a.test", "b.test") }, acme.BadRevocationReason, "reason keyCompromise needs the ordering account"},
		"by one whose proof is too old": {func(s *situation) {
			s.revokeAsOther(ca.Superseded, "a.test", "b.test")
			s.facts.now = now.Add(2 * time.Hour)
		}, acme.Unauthorized, "is not authorized"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			s.order.Status.State = acme.StateValid
			s.order.Finalizers = []string{v1alpha1.RevocationFinalizer}
			s.facts.revocation.certificate = s.newCertificate()
			s.facts.revocation.account = s.facts.account.DeepCopy()
			s.revoke(s.key, "acct", ca.Superseded)
			c.change(s)
			got := s.decide()
			changed := s.order.DeepCopy()
			got.change(changed, s.facts)
			if c.problem != "" {
				if got.problem == nil || got.problem.Type != c.problem || !strings.Contains(got.problem.Detail, c.detail) || refused(got) != "Revocation" {
					t.Fatalf("%v, refuses %q", got.problem, refused(got))
				}
				if changed.Status.RevokedAt != nil || changed.Status.Revocation.Problem == nil || changed.Status.State != acme.StateValid || changed.Status.Problem != nil {
					t.Errorf("%+v", changed.Status)
				}
				return
			}
			if got.problem != nil || changed.Status.RevokedAt == nil || changed.Status.Revocation.Problem != nil || changed.RevocationPending() {
				t.Errorf("%v, %+v", got.problem, changed.Status)
			}
			s.order.Finalizers = nil
			if got := s.decide(); !got.addFinalizer || got.revocation != nil {
				t.Errorf("without the finalizer: %+v", got)
			}
			s.order.DeletionTimestamp = &metav1.Time{Time: now}
			if got := s.decide(); got.addFinalizer || got.revocation == nil {
				t.Errorf("without the finalizer, being deleted: %+v", got)
			}
		})
	}
}

func TestDecideEndingAuthorizations(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *situation, owned *v1alpha1.AcmeAuthorization)
		want   []string // the names of the authorizations that end
	}{
		"of a name of the certificate":  {func(*situation, *v1alpha1.AcmeAuthorization) {}, []string{"owned"}},
		"of another name":               {func(_ *situation, a *v1alpha1.AcmeAuthorization) { a.Spec.Identifier.Value = "c.test" }, nil},
		"of a parent domain, not asked": {func(_ *situation, a *v1alpha1.AcmeAuthorization) { a.Spec.Identifier.Value = "test" }, nil},
		"of another issuer":             {func(_ *situation, a *v1alpha1.AcmeAuthorization) { a.Spec.IssuerRef.Name = "cb" }, nil},
		"that is pending":               {func(_ *situation, a *v1alpha1.AcmeAuthorization) { a.Status.State = acme.StatePending }, nil},
		"where the request is refused":  {func(s *situation, _ *v1alpha1.AcmeAuthorization) { s.revokeWithKey(s.other) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			s.order.Status.State = acme.StateValid
			s.order.Finalizers = []string{v1alpha1.RevocationFinalizer}
			s.facts.revocation.certificate = s.newCertificate()
			s.revoke(s.key, "acct", ca.Superseded)
			s.revokeWithKey(s.leaf)
			owned := s.facts.authorizations[0].DeepCopy()
			owned.Name = "owned"
			c.change(s, owned)
			s.facts.revocation.owners = []v1alpha1.AcmeAuthorization{*owned}
			var got []string
			for _, authz := range s.decide().endAuthorizations {
				got = append(got, authz.Name)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("ends %q, want %q", got, c.want)
			}
		})
	}
}

func (s *situation) newCertificate() string {
	s.t.Helper()
	got := decide(issuable(s), s.facts)
	certificate, err := s.facts.issuer.Authority.Issue(got.issue.profile, got.issue.request)
	must(s.t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

// issuable is the order as it was before its certificate was issued, with another UID each time.
func issuable(s *situation) *v1alpha1.AcmeOrder {
	order := s.order.DeepCopy()
	order.UID += "x"
	order.Status, order.Spec.Revocation = v1alpha1.AcmeOrderStatus{}, nil
	s.order.UID = order.UID
	return order
}

func (s *situation) revocationPayload(reason ca.Reason) map[string]any {
	block, _ := pem.Decode([]byte(s.facts.revocation.certificate))
	return map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(block.Bytes), "reason": int(reason)}
}

func (s *situation) revoke(key crypto.Signer, account string, reason ca.Reason) {
	s.t.Helper()
	s.order.Spec.Revocation = &v1alpha1.Revocation{Reason: int(reason), Request: s.sign(key, account, acme.RevokeCertPath, s.revocationPayload(reason))}
}

func (s *situation) revokeWithKey(key crypto.Signer) {
	s.t.Helper()
	header := jwstest.Header{"jwk": jwstest.JWK(s.t, key), "url": base + "/" + acme.RevokeCertPath, "nonce": "bm9uY2U"}
	request := &v1alpha1.SignedRequest{}
	must(s.t, json.Unmarshal(jwstest.Sign(s.t, key, header, s.revocationPayload(ca.Superseded)), request))
	s.order.Spec.Revocation.Request = request
}

// revokeAsOther makes another account revoke the certificate, which is authorized for some names.
func (s *situation) revokeAsOther(reason ca.Reason, names ...string) {
	s.t.Helper()
	s.facts.revocation.account = newAccount(s.t, "other", s.other)
	for _, authz := range s.facts.authorizations {
		for _, name := range names {
			if authz.Spec.Identifier.Value == name {
				s.facts.revocation.authorizations = append(s.facts.revocation.authorizations, *authz)
			}
		}
	}
	s.revoke(s.other, "other", reason)
}

// Beyond the budget, orders that are not finished are deleted, and certificates can be revoked as always.
func TestOverBudget(t *testing.T) {
	s := newSituation(t)
	s.facts.overBudget = true
	if got := s.decide(); !got.discard || got.issue != nil {
		t.Errorf("a finalized order: %+v", got)
	}
	s.order.DeletionTimestamp = &metav1.Time{Time: now}
	s.order.Finalizers = []string{v1alpha1.RevocationFinalizer}
	if got := s.decide(); got.discard || !got.removeFinalizer {
		t.Errorf("an order that is being deleted: %+v", got)
	}
	s = newSituation(t)
	s.facts.overBudget = true
	s.order.Status.State = acme.StateValid
	if got := s.decide(); got.discard {
		t.Errorf("a valid order: %+v", got)
	}
}

// Package podcertificate issues to Pods. This controller ends an order without a certificate, and issues nothing.
func TestOrderForAPod(t *testing.T) {
	s := newSituation(t)
	s.order.Spec.AccountRef, s.order.Spec.Authorizations, s.facts.authorizations, s.facts.account = v1alpha1.ObjectRef{}, nil, nil, nil
	s.order.Spec.Finalization = nil
	s.order.Spec.Pod = &v1alpha1.PodSource{Namespace: "shop", Name: "web"}
	s.order.CreationTimestamp = metav1.NewTime(ordered.Add(20 * time.Minute)) // its name has the time of the request
	if got := decide(s.order, s.facts); got.problem != nil || got.issue != nil || got.wait <= 0 {
		t.Errorf("got %+v", got)
	}
	s.facts.now = s.order.CreationTimestamp.Add(s.facts.issuer.Spec.Lifetimes.Order.Duration)
	if got := decide(s.order, s.facts); got.problem == nil || got.state != acme.StateInvalid {
		t.Errorf("got %+v", got)
	}
	s.facts.issuer, s.facts.issuerEnding = nil, true
	if got := decide(s.order, s.facts); got.problem == nil || got.state != acme.StateInvalid {
		t.Errorf("got %+v", got)
	}
}

// Any account is authorized for all names of an order without names.
func TestAccountCannotRevokeForAPod(t *testing.T) {
	order := &v1alpha1.AcmeOrder{}
	order.Spec.Pod, order.Spec.Revocation = &v1alpha1.PodSource{}, &v1alpha1.Revocation{Request: &v1alpha1.SignedRequest{}}
	if problem := revokingAccountProblem(order, facts{issuer: newIssuer(t), account: newAccount(t, "acct", jwstest.NewKey(t, "ES256"))}); problem == nil ||
		!strings.Contains(problem.Detail, "the certificate is a Pod's") {
		t.Errorf("got %v", problem)
	}
}
