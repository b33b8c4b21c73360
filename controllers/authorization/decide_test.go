package authorization

import (
	"crypto"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/policy"
)

const base = "https://ca.test"

// world is an issuer with an account, from whose client the tests have the key.
type world struct {
	issuer  *issuers.Issuer
	account *v1alpha1.AcmeAccount
	key     crypto.Signer
	now     time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{issuer: &issuers.Issuer{Name: "ca", Bases: []acme.Base{base}}, key: jwstest.NewKey(t, "ES256"), now: time.Now().Truncate(time.Second)}
	spec := &w.issuer.Spec
	spec.Profiles = []v1alpha1.Profile{{Name: "default"}}
	spec.Lifetimes.Authorization.Duration, spec.Lifetimes.PendingAuthorization.Duration = 24*time.Hour, 7*24*time.Hour
	w.offer(t, acme.HTTP01)
	w.account = &v1alpha1.AcmeAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "acct", UID: "uid-acct"}}
	w.account.Spec.IssuerRef.Name = "ca"
	w.account.Status = v1alpha1.AcmeAccountStatus{State: acme.StateValid, JWK: string(jwstest.JWK(t, w.key)), Thumbprint: jwstest.Key(t, w.key).Thumbprint()}
	return w
}

// offer sets the only type of challenge that the issuer offers.
func (w *world) offer(t *testing.T, types ...acme.ChallengeType) {
	w.issuer.Spec.Challenges.Types = types
	var err error
	if w.issuer.Policy, err = policy.New(&w.issuer.Spec); err != nil {
		t.Fatal(err)
	}
}

func (w *world) sign(t *testing.T, key crypto.Signer, path string, payload any) *v1alpha1.SignedRequest {
	header := jwstest.Header{"kid": base + "/" + acme.AccountPath("acct"), "url": base + "/" + path, "nonce": "bm9uY2U"}
	var request v1alpha1.SignedRequest
	if err := json.Unmarshal(jwstest.Sign(t, key, header, payload), &request); err != nil {
		t.Fatal(err)
	}
	return &request
}

// pending returns a new authorization.
func (w *world) pending() *v1alpha1.AcmeAuthorization {
	authz := &v1alpha1.AcmeAuthorization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: v1alpha1.NewObjectName(w.now), UID: "uid-a", CreationTimestamp: metav1.NewTime(w.now)}}
	authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name = "ca", "acct"
	authz.Spec.Identifier = v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}
	authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.DNS01, Token: "another"}, {Type: acme.HTTP01, Token: "token"}}
	authz.Status.State = acme.StatePending
	return authz
}

// accepted returns an authorization whose client has accepted the http-01 challenge.
func (w *world) accepted(t *testing.T) *v1alpha1.AcmeAuthorization {
	authz := w.pending()
	authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01, Request: *w.sign(t, w.key, acme.ChallengePath(authz.Name, acme.HTTP01), struct{}{})}
	return authz
}

// outcome is the part of a step that the table compares.
type outcome struct {
	state     acme.State
	challenge acme.State // "" for none
	problem   acme.ProblemType
	again     time.Duration
	refused   string
	start     bool
	concluded bool
	recheck   bool
}

func outcomeOf(s step) outcome {
	o := outcome{state: s.status.State, again: s.again, start: s.start, concluded: s.concluded, recheck: s.recheck}
	if s.status.Challenge != nil {
		o.challenge = s.status.Challenge.State
	}
	if s.status.Problem != nil {
		o.problem = s.status.Problem.Type
	}
	var refused []string
	for _, r := range s.refusals {
		refused = append(refused, r.Request)
	}
	o.refused = strings.Join(refused, " ")
	return o
}

func TestDecide(t *testing.T) {
	const week, day = 7 * 24 * time.Hour, 24 * time.Hour
	timedOut := validation.Result{Problem: acme.NewProblem(acme.Connection, "timed out"), Transient: true}
	wrong := validation.Result{Problem: acme.NewProblem(acme.IncorrectResponse, "wrong")}
	valid := func(w *world, a *v1alpha1.AcmeAuthorization) {
		expires := metav1.NewTime(w.now.Add(day))
		a.Status.State, a.Status.Expires, a.Status.Challenge = acme.StateValid, &expires, &v1alpha1.ChallengeStatus{Type: acme.HTTP01, State: acme.StateValid}
	}
	deactivate := func(t *testing.T, w *world, a *v1alpha1.AcmeAuthorization, key crypto.Signer) {
		a.Spec.Deactivation = &v1alpha1.Deactivation{Request: w.sign(t, key, acme.AuthorizationPath(a.Name), map[string]string{"status": "deactivated"})}
	}
	type edit func(*testing.T, *world, *v1alpha1.AcmeAuthorization, *facts)
	attempted := func(number int, result validation.Result) edit {
		return func(_ *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, f *facts) {
			f.attempt = attempts.Attempt{Number: number, Result: result, Ended: w.now}
		}
	}
	for name, c := range map[string]struct {
		accepted bool
		edits    []edit
		want     outcome
	}{
		"waits for its client": {want: outcome{state: acme.StatePending, again: week}},
		"expires unproved": {edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) { f.now = f.now.Add(week) }},
			want: outcome{state: acme.StateInvalid, problem: acme.Unauthorized}},
		"expires before an ended attempt counts": {accepted: true, edits: []edit{attempted(1, validation.Result{Valid: true}),
			func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) { f.now = f.now.Add(week) }},
			want: outcome{state: acme.StateInvalid, problem: acme.Unauthorized}},
		"stays valid until it expires": {accepted: true, edits: []edit{func(_ *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) { valid(w, a) }},
			want: outcome{state: acme.StateValid, challenge: acme.StateValid, again: day}},
		"stays valid after its last attempt failed": {accepted: true, edits: []edit{attempted(1, wrong),
			func(_ *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) { valid(w, a) }},
			want: outcome{state: acme.StateValid, challenge: acme.StateValid, again: day}},
		"expires proved": {accepted: true, edits: []edit{func(_ *testing.T, w *world, a *v1alpha1.AcmeAuthorization, f *facts) {
			valid(w, a)
			f.now = f.now.Add(day)
		}}, want: outcome{state: acme.StateExpired, challenge: acme.StateValid}},
		"is final": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			a.Status.State = acme.StateRevoked
		}},
			want: outcome{state: acme.StateRevoked}},

		"waits for its issuer": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) { f.issuer = nil }},
			want: outcome{state: acme.StatePending}},
		"ends with its issuer": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) {
			f.issuer, f.issuerEnding = nil, true
		}},
			want: outcome{state: acme.StateInvalid, problem: acme.ServerInternal}},
		"waits for its issuer's suspension to end": {accepted: true, edits: []edit{func(_ *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) { w.issuer.Spec.Suspend = true }},
			want: outcome{state: acme.StatePending, again: week}},

		"needs no account before its client acts": {edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) { f.account = nil }},
			want: outcome{state: acme.StatePending, again: week}},
		"waits for an account that the cache lacks": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) { f.account = nil }},
			want: outcome{state: acme.StatePending, again: minMissingWait}},
		"waits twice as long each time": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) {
			f.account, f.now = nil, f.now.Add(8*time.Second)
		}}, want: outcome{state: acme.StatePending, again: 8 * time.Second}},
		"waits no longer than the grace": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) {
			f.account, f.now = nil, f.now.Add(kube.MissingGrace-time.Second)
		}}, want: outcome{state: acme.StatePending, again: time.Second}},
		"fails without an account": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) {
			f.account, f.now = nil, f.now.Add(kube.MissingGrace)
		}}, want: outcome{state: acme.StateInvalid, problem: acme.AccountDoesNotExist}},
		"ends with its account, pending": {edits: []edit{func(_ *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) {
			w.account.Status.State = acme.StateDeactivated
		}}, want: outcome{state: acme.StateInvalid, problem: acme.Unauthorized}},
		"ends with its account, deactivated": {edits: []edit{func(_ *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			valid(w, a)
			w.account.Status.State = acme.StateDeactivated
		}}, want: outcome{state: acme.StateDeactivated, challenge: acme.StateValid, problem: acme.Unauthorized}},
		"ends with its account, revoked": {edits: []edit{func(_ *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			valid(w, a)
			w.account.Status.State = acme.StateRevoked
		}}, want: outcome{state: acme.StateRevoked, challenge: acme.StateValid, problem: acme.Unauthorized}},

		"is deactivated by its client": {edits: []edit{func(t *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) { deactivate(t, w, a, w.key) }},
			want: outcome{state: acme.StateDeactivated}},
		"is revoked by a person": {accepted: true, edits: []edit{attempted(1, validation.Result{Valid: true}),
			func(_ *testing.T, _ *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
				a.Spec.Deactivation = &v1alpha1.Deactivation{}
			}},
			want: outcome{state: acme.StateRevoked}},
		"is revoked although its issuer is suspended": {edits: []edit{func(_ *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			w.issuer.Spec.Suspend, a.Spec.Deactivation = true, &v1alpha1.Deactivation{}
		}}, want: outcome{state: acme.StateRevoked}},
		"isn't deactivated by another key": {edits: []edit{func(t *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			valid(w, a)
			deactivate(t, w, a, jwstest.NewKey(t, "ES256"))
		}}, want: outcome{state: acme.StateValid, challenge: acme.StateValid, again: day, refused: "Deactivation", recheck: true}},
		"is validated although its deactivation is refused": {accepted: true, edits: []edit{func(t *testing.T, w *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			deactivate(t, w, a, jwstest.NewKey(t, "ES256"))
		}}, want: outcome{state: acme.StatePending, again: week, refused: "Deactivation", recheck: true, start: true}},

		"is tried": {accepted: true, want: outcome{state: acme.StatePending, again: week, start: true}},
		"waits for its attempt": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, _ *v1alpha1.AcmeAuthorization, f *facts) {
			f.attempt = attempts.Attempt{Number: 1, Running: true}
		}}, want: outcome{state: acme.StatePending, again: week}},
		"is proved": {accepted: true, edits: []edit{attempted(1, validation.Result{Valid: true})},
			want: outcome{state: acme.StateValid, challenge: acme.StateValid, again: week, concluded: true}},
		"fails": {accepted: true, edits: []edit{attempted(1, wrong)},
			want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.IncorrectResponse, concluded: true}},
		"is tried again after a transient failure": {accepted: true, edits: []edit{attempted(1, timedOut)},
			want: outcome{state: acme.StatePending, challenge: acme.StateProcessing, again: week, start: true}},
		"fails after the last transient failure": {accepted: true, edits: []edit{attempted(len(attempts.Backoff)+1, timedOut)},
			want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.Connection, concluded: true}},
		"is proved although the key has changed since": {accepted: true, edits: []edit{attempted(1, validation.Result{Valid: true}),
			func(t *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) {
				w.account.Status.JWK = string(jwstest.JWK(t, jwstest.NewKey(t, "ES256")))
			}}, want: outcome{state: acme.StateValid, challenge: acme.StateValid, again: week, concluded: true}},

		"isn't tried for another key": {accepted: true, edits: []edit{func(t *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) {
			w.account.Status.JWK = string(jwstest.JWK(t, jwstest.NewKey(t, "ES256")))
		}}, want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.Malformed, refused: "Response", recheck: true}},
		"isn't tried for an account that isn't valid yet": {accepted: true, edits: []edit{func(_ *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) {
			w.account.Status.State = acme.StatePending
		}}, want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.Unauthorized, refused: "Response", recheck: true}},
		"isn't tried again after its key has changed": {accepted: true, edits: []edit{attempted(1, timedOut),
			func(t *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) {
				w.account.Status.JWK = string(jwstest.JWK(t, jwstest.NewKey(t, "ES256")))
			}}, want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.Malformed, refused: "Response", recheck: true}},
		"isn't tried if it was created again under its name": {accepted: true, edits: []edit{func(_ *testing.T, _ *world, a *v1alpha1.AcmeAuthorization, _ *facts) {
			a.CreationTimestamp = metav1.NewTime(a.CreationTimestamp.Add(v1alpha1.MaxNameSkew + time.Second))
		}}, want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.ServerInternal, refused: "Response", recheck: true}},
		"isn't tried by a challenge that isn't offered": {accepted: true, edits: []edit{func(t *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) { w.offer(t, acme.DNS01) }},
			want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.Unauthorized, refused: "Response", recheck: true}},
		"isn't valid by a challenge that isn't offered any more": {accepted: true, edits: []edit{attempted(1, validation.Result{Valid: true}),
			func(t *testing.T, w *world, _ *v1alpha1.AcmeAuthorization, _ *facts) { w.offer(t, acme.DNS01) }},
			want: outcome{state: acme.StateInvalid, challenge: acme.StateInvalid, problem: acme.Unauthorized, refused: "Response"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			authz := w.pending()
			if c.accepted {
				authz = w.accepted(t)
			}
			f := facts{now: w.now, issuer: w.issuer, account: w.account}
			for _, change := range c.edits {
				change(t, w, authz, &f)
			}
			before, account := authz.DeepCopy(), w.account.DeepCopy()
			s := decide(authz, f)
			if got := outcomeOf(s); got != c.want {
				t.Errorf("got  %+v\nwant %+v\nproblem %+v", got, c.want, s.status.Problem)
			}
			if s.status.State.Final() && s.status.Expires == nil && !authz.Status.State.Final() {
				t.Error("an ended authorization without an expiry would never be removed")
			}
			if !reflect.DeepEqual(authz, before) || !reflect.DeepEqual(w.account, account) {
				t.Error("decide changes its arguments")
			}
		})
	}
}

func TestAProofCountsNoLongerThanItsRecordSays(t *testing.T) {
	w := newWorld(t)
	until := w.now.Add(time.Minute)
	f := facts{now: w.now, issuer: w.issuer, account: w.account, attempt: attempts.Attempt{
		Number: 2, Ended: w.now, CAA: true, Result: validation.Result{Valid: true, Until: until, Record: validation.Record{Time: w.now, Resolver: "192.0.2.1"}},
	}}
	status := decide(w.accepted(t), f).status
	if !status.Expires.Time.Equal(until) || status.Challenge.CAACheckedAt == nil || status.Challenge.Attempts != 2 || status.Challenge.Record.Resolver != "192.0.2.1" {
		t.Errorf("%+v", status)
	}
}

// Beyond the budget, pending authorizations are deleted, and proofs stay.
func TestOverBudget(t *testing.T) {
	w := newWorld(t)
	pending, f := w.accepted(t), facts{now: w.now, issuer: w.issuer, account: w.account, overBudget: true}
	if s := decide(pending, f); !s.discard || s.start {
		t.Errorf("a pending authorization: %+v", s)
	}
	f.issuer = nil
	if s := decide(pending, f); !s.discard {
		t.Errorf("a pending authorization of an issuer that is not ready: %+v", s)
	}
	f.issuer = w.issuer
	valid := w.pending()
	valid.Status.State, valid.Status.Expires = acme.StateValid, &metav1.Time{Time: w.now.Add(time.Hour)}
	if s := decide(valid, f); s.discard {
		t.Errorf("a valid authorization: %+v", s)
	}
}
