package authorization

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
)

// step is a decision about an authorization. The reconciler applies it: first the status, then the rest.
type step struct {
	// status is the new status.
	status v1alpha1.AcmeAuthorizationStatus
	// again is the time until the next decision, or 0 if an event triggers it.
	again time.Duration
	// start is whether the attempt after the newest one begins.
	start bool
	// concluded is whether an attempt decided the authorization's state.
	concluded bool
	// refusals are the client's requests that are refused.
	refusals []kube.Refusal
	// recheck is whether a refusal rests on facts.account, which may be stale.
	recheck bool
	// discard is whether the authorization is deleted.
	discard bool
}

// minMissingWait is the shortest wait for an account that the cache lacks.
const minMissingWait = 50 * time.Millisecond

// decide returns the next step of an authorization.
func decide(authz *v1alpha1.AcmeAuthorization, f facts) step {
	if authz.Status.State.Final() {
		return step{status: authz.Status}
	}
	if f.overBudget && authz.Status.State == acme.StatePending && authz.DeletionTimestamp == nil {
		return step{status: authz.Status, discard: true}
	}
	if f.issuer == nil {
		return step{status: withoutIssuer(authz, f)}
	}
	s := decideOpen(authz, f)
	if !s.status.State.Final() {
		return s
	}
	s.again = 0
	if s.status.Expires == nil {
		// Retention removes an authorization after it expires, also one that ended before.
		expires := authz.ExpiresAt(f.issuer.Spec.Lifetimes)
		s.status.Expires = &expires
	}
	return s
}

// decideOpen decides about an authorization that is pending or valid, and whose issuer is ready.
func decideOpen(authz *v1alpha1.AcmeAuthorization, f facts) step {
	if problem := verify.AccountEnded(f.account); problem != nil {
		return step{status: endedWithAccount(authz.Status, f.account.Status.State, problem)}
	}
	expires := authz.ExpiresAt(f.issuer.Spec.Lifetimes)
	if !f.now.Before(expires.Time) {
		return step{status: expired(authz.Status, expires)}
	}
	s := step{status: authz.Status, again: expires.Sub(f.now)}
	responded := authz.Spec.Response != nil && authz.Status.State != acme.StateValid
	if authz.Spec.Deactivation == nil && !responded {
		return s
	}
	if f.account == nil {
		return withoutAccount(authz, f)
	}
	if asked := authz.Spec.Deactivation; asked != nil {
		problem := verify.Deactivation(f.issuer, f.account, asked, acme.AuthorizationPath(authz.Name))
		if problem == nil {
			s.status.State = verify.EndState(asked)
			return step{status: s.status}
		}
		s.refusals, s.recheck = append(s.refusals, kube.Refusal{Request: "Deactivation", Problem: problem}), true
	}
	if !responded || f.issuer.Spec.Suspend {
		return s
	}
	o := validate(authz, f)
	s.status, s.start, s.concluded = o.status, o.start, o.concluded
	s.refusals, s.recheck = append(s.refusals, o.refusals...), s.recheck || o.recheck
	return s
}

// withoutIssuer ends a pending authorization whose issuer is gone. If the issuer is only not ready, its authorizations are
// reconciled when it is.
func withoutIssuer(authz *v1alpha1.AcmeAuthorization, f facts) v1alpha1.AcmeAuthorizationStatus {
	status := authz.Status
	if status.State != acme.StatePending || !f.issuerEnding {
		return status
	}
	now := metav1.NewTime(f.now)
	status.State, status.Expires = acme.StateInvalid, &now
	status.Problem = v1alpha1.ProblemFrom(verify.IssuerDeleted(authz.Spec.IssuerRef).About(authz.Authorized()))
	return status
}

// withoutAccount waits for an account that the cache lacks, twice as long each time, and fails the authorization after
// kube.MissingGrace.
func withoutAccount(authz *v1alpha1.AcmeAuthorization, f facts) step {
	age := f.now.Sub(authz.CreationTimestamp.Time)
	if age < kube.MissingGrace {
		return step{status: authz.Status, again: min(max(age, minMissingWait), kube.MissingGrace-age)}
	}
	return step{status: failed(authz, f, nil, verify.NoAccount(authz.Spec.AccountRef.Name))}
}

// endedWithAccount ends an authorization whose account has ended: a proof counts only for the account that gave it.
func endedWithAccount(status v1alpha1.AcmeAuthorizationStatus, account acme.State, problem *acme.Problem) v1alpha1.AcmeAuthorizationStatus {
	switch {
	case status.State == acme.StatePending:
		status.State = acme.StateInvalid
	case account == acme.StateDeactivated:
		status.State = acme.StateDeactivated
	default:
		status.State = acme.StateRevoked
	}
	status.Problem = v1alpha1.ProblemFrom(problem)
	return status
}

// expired ends an authorization that has expired (RFC 8555 section 7.1.6).
func expired(status v1alpha1.AcmeAuthorizationStatus, expires metav1.Time) v1alpha1.AcmeAuthorizationStatus {
	if status.State == acme.StateValid {
		status.State = acme.StateExpired
		return status
	}
	status.State, status.Expires = acme.StateInvalid, &expires
	status.Problem = v1alpha1.ProblemFrom(acme.NewProblem(acme.Unauthorized, "control of the identifier was not proved in time"))
	return status
}

// validate decides about the challenge that the client chose.
func validate(authz *v1alpha1.AcmeAuthorization, f facts) step {
	if f.attempt.Running {
		return step{status: authz.Status} // the end of the attempt triggers the next decision
	}
	challenge := v1alpha1.ChallengeStatus{Type: authz.Spec.Response.Type, State: acme.StateProcessing}
	if problem := responseProblem(authz, f); problem != nil {
		return step{
			status: failed(authz, f, &challenge, problem), refusals: []kube.Refusal{{Request: "Response", Problem: problem}},
			recheck: !f.attempt.Final(), // the result of an attempt does not rest on the key in the cache
		}
	}
	if f.attempt.Number == 0 {
		return step{status: authz.Status, start: true}
	}
	challenge.Attempts, challenge.Record = f.attempt.Number, recordFrom(f.attempt.Result.Record)
	switch {
	case f.attempt.Result.Valid:
		return step{status: validated(authz, f, challenge), concluded: true}
	case f.attempt.Final():
		return step{status: failed(authz, f, &challenge, f.attempt.Result.Problem), concluded: true}
	}
	// The challenge stays "processing" after a transient failure, and shows it (RFC 8555 section 8.2).
	challenge.Problem = v1alpha1.ProblemFrom(f.attempt.Result.Problem)
	s := step{status: authz.Status, start: true}
	s.status.Challenge = &challenge
	return s
}

// responseProblem verifies the client's response. The response was verified before the first attempt, with the key that the
// account had then: after the last attempt, only the issuer's rules are checked again. An authorization that was created again
// under its name is refused: the response in it was signed for another one.
func responseProblem(authz *v1alpha1.AcmeAuthorization, f facts) *acme.Problem {
	switch {
	case !authz.CreatedAsNamed(f.issuer.Spec.Lifetimes):
		return acme.NewProblem(acme.ServerInternal, "the authorization was not created at the time in its name, but at %s", authz.CreationTimestamp.UTC().Format(time.RFC3339))
	case f.attempt.Final():
		return verify.Offer(f.issuer, f.account, authz)
	}
	return verify.Response(f.issuer, f.account, authz)
}

// validated makes an authorization valid as of the end of its attempt.
func validated(authz *v1alpha1.AcmeAuthorization, f facts, challenge v1alpha1.ChallengeStatus) v1alpha1.AcmeAuthorizationStatus {
	at := metav1.NewTime(f.attempt.Ended)
	expires := metav1.NewTime(earliest(at.Add(f.issuer.Spec.Lifetimes.Authorization.Duration), f.attempt.Result.Until))
	challenge.State, challenge.ValidatedAt = acme.StateValid, &at
	shorten(challenge.Record)
	if f.attempt.CAA && authz.Spec.Identifier.Type == acme.DNS {
		challenge.CAACheckedAt = &at
	}
	status := authz.Status
	status.State, status.Expires, status.Challenge, status.Problem = acme.StateValid, &expires, &challenge, nil
	return status
}

// failed ends an authorization as invalid, and its challenge unless challenge is nil.
func failed(
	authz *v1alpha1.AcmeAuthorization, f facts, challenge *v1alpha1.ChallengeStatus, problem *acme.Problem,
) v1alpha1.AcmeAuthorizationStatus {
	status, expires := authz.Status, authz.ExpiresAt(f.issuer.Spec.Lifetimes)
	status.State, status.Expires = acme.StateInvalid, &expires
	status.Problem = v1alpha1.ProblemFrom(problem.About(authz.Authorized()))
	if challenge != nil {
		ended := *challenge
		ended.State, ended.Problem = acme.StateInvalid, status.Problem
		status.Challenge = &ended
	}
	return status
}

// earliest returns the earlier of t and limit; a zero limit is no limit.
func earliest(t, limit time.Time) time.Time {
	if !limit.IsZero() && limit.Before(t) {
		return limit
	}
	return t
}
