package account

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/policy"
)

// step is a decision about an account or claim. The reconciler applies it.
type step struct {
	// status is the new status.
	status v1alpha1.AcmeAccountStatus
	// bind is the Secret of a single-use external account key, which is used up for the account before status is written.
	bind *corev1.Secret
	// refusals are the requests that are refused.
	refusals []kube.Refusal
	// again is the time until the next decision, or 0 if an event triggers it.
	again time.Duration
	// discard is whether the object is deleted.
	discard bool
}

// overBudgetDelay is the wait of a new account for which there is no room in etcd.
const overBudgetDelay = time.Minute

// decide returns the next step of an account or claim.
func decide(account *v1alpha1.AcmeAccount, f facts) step {
	switch {
	case account.Status.State.Final():
		// A refused account is deleted, so that its key can be registered. The ACME server learns the problem from its watch.
		return step{status: account.Status, discard: account.Status.State == acme.StateInvalid && account.DeletionTimestamp == nil}
	case !needsDecision(account), f.issuer == nil: // the accounts of an issuer are reconciled when it becomes ready
		return step{status: account.Status}
	case f.overBudget && account.Status.State == acme.StatePending:
		// A restore makes accounts pending too, so they are not deleted.
		return step{status: account.Status, again: overBudgetDelay}
	case account.Spec.KeyClaimFor != "":
		return decideClaim(account, f)
	}
	s := decideAccount(account, f)
	s.status.ObservedGeneration = account.Generation
	return s
}

// needsDecision reports whether an account or claim can have requests that were not handled.
func needsDecision(account *v1alpha1.AcmeAccount) bool {
	return !account.Status.State.Final() && account.Status.ObservedGeneration != account.Generation
}

// decideAccount registers a pending account, and then handles each new request.
func decideAccount(account *v1alpha1.AcmeAccount, f facts) step {
	s := step{status: account.Status}
	if account.Status.State == acme.StatePending {
		if changedKey(account, f) {
			return hold(account)
		}
		registered, problem := register(account, f)
		if problem != nil {
			return refuse(account.Status, "Registration", problem)
		}
		s.status, s.bind = registered.status, registered.use
	}
	for _, request := range requests {
		signed, asked := request.stored(&account.Spec)
		if !asked || wasHandled(*request.handled(&s.status), signed) {
			continue
		}
		status, problem := request.decide(withStatus(account, s.status), f, signed)
		s.status = status
		if problem != nil {
			s.refusals = append(s.refusals, kube.Refusal{Request: request.kind, Problem: problem})
		}
	}
	return s
}

// changedKey reports whether an account was valid before and asked for another key, and its status is lost. A restore without
// status, such as Velero's, leaves accounts so. Neither the key that the account was registered with nor a claimed key is known
// to be its newest: the stored key change may have been refused, and others may have given up keys.
func changedKey(account *v1alpha1.AcmeAccount, f facts) bool {
	return account.Spec.KeyChange != nil || f.hasClaims
}

// hold keeps an account pending whose newest key is unknown, until a person restores its status or revokes the account. The
// account is not deleted: its name keeps the key that it was registered with from being registered again.
func hold(account *v1alpha1.AcmeAccount) step {
	s := step{status: account.Status}
	if asked := account.Spec.Deactivation; asked != nil && asked.Request == nil {
		s.status.State, s.status.Problem = verify.EndState(asked), nil
		return s
	}
	problem := acme.NewProblem(acme.Unauthorized, "the account changed its key, but its status, which has the newest key, is missing: "+
		"restore the status from a backup, or set spec.deactivation to {} and let the client register with a new key")
	s.status.Problem = v1alpha1.ProblemFrom(problem)
	s.refusals = []kube.Refusal{{Request: "Registration", Problem: problem}}
	return s
}

// refuse makes an account or claim invalid.
func refuse(status v1alpha1.AcmeAccountStatus, request string, problem *acme.Problem) step {
	status.State, status.Problem = acme.StateInvalid, v1alpha1.ProblemFrom(problem)
	return step{status: status, refusals: []kube.Refusal{{Request: request, Problem: problem}}}
}

// withStatus returns a shallow copy of an account with another status.
func withStatus(account *v1alpha1.AcmeAccount, status v1alpha1.AcmeAccountStatus) *v1alpha1.AcmeAccount {
	changed := *account
	changed.Status = status
	return &changed
}

// request is a kind of request in an account's spec.
type request struct {
	kind string
	// stored returns the request, and whether spec has one. A person's request is nil.
	stored func(*v1alpha1.AcmeAccountSpec) (signed *v1alpha1.SignedRequest, asked bool)
	// handled returns the field of status that has the outcome.
	handled func(*v1alpha1.AcmeAccountStatus) **v1alpha1.HandledRequest
	// perform returns the status of an account with the request carried out, or a problem.
	perform func(*v1alpha1.AcmeAccount, facts) (v1alpha1.AcmeAccountStatus, *acme.Problem)
}

// requests are the kinds of requests, in the order in which they are handled.
var requests = []request{
	{
		"Update",
		func(s *v1alpha1.AcmeAccountSpec) (*v1alpha1.SignedRequest, bool) { return s.Update, s.Update != nil },
		func(s *v1alpha1.AcmeAccountStatus) **v1alpha1.HandledRequest { return &s.Update },
		update,
	},
	{
		"KeyChange",
		func(s *v1alpha1.AcmeAccountSpec) (*v1alpha1.SignedRequest, bool) {
			return s.KeyChange, s.KeyChange != nil
		},
		func(s *v1alpha1.AcmeAccountStatus) **v1alpha1.HandledRequest { return &s.KeyChange },
		changeKey,
	},
	{
		"Deactivation",
		func(s *v1alpha1.AcmeAccountSpec) (*v1alpha1.SignedRequest, bool) {
			if s.Deactivation == nil {
				return nil, false
			}
			return s.Deactivation.Request, true
		},
		func(s *v1alpha1.AcmeAccountStatus) **v1alpha1.HandledRequest { return &s.Deactivation },
		deactivate,
	},
}

// decide returns the status of an account with the outcome of a request, and the problem of a refused request.
func (r request) decide(
	account *v1alpha1.AcmeAccount, f facts, signed *v1alpha1.SignedRequest,
) (v1alpha1.AcmeAccountStatus, *acme.Problem) {
	status, problem := account.Status, replayed(account, signed)
	if problem == nil {
		status, problem = r.perform(account, f)
	}
	if problem != nil {
		status = account.Status
	} else if signed != nil {
		status.HandledRequests = remembered(status.HandledRequests, signed)
	}
	*r.handled(&status) = &v1alpha1.HandledRequest{Digest: signed.Digest(), Problem: v1alpha1.ProblemFrom(problem)}
	return status, problem
}

// wasHandled reports whether an outcome is that of the request.
func wasHandled(outcome *v1alpha1.HandledRequest, signed *v1alpha1.SignedRequest) bool {
	return outcome != nil && outcome.Digest == signed.Digest()
}

// replayed refuses a request that was carried out before. A client signs each request with a new nonce: a request that comes
// twice is a replay by an ACME server that kept it, and would undo later changes.
func replayed(account *v1alpha1.AcmeAccount, signed *v1alpha1.SignedRequest) *acme.Problem {
	if signed != nil && slices.Contains(account.Status.HandledRequests, signed.ID()) {
		return acme.NewProblem(acme.Unauthorized, "the request was carried out before")
	}
	return nil
}

// maxHandled bounds the carried-out requests whose ids an account keeps.
const maxHandled = 128

// remembered returns the ids of carried-out requests with that of another request, the newest first. Only requests with a
// verified signature are remembered: otherwise a forged one could block the client's own.
func remembered(ids []string, signed *v1alpha1.SignedRequest) []string {
	return append([]string{signed.ID()}, ids[:min(len(ids), maxHandled-1)]...)
}

// update carries out an account update (RFC 8555 sections 7.3.2 and 7.3.3).
func update(account *v1alpha1.AcmeAccount, f facts) (v1alpha1.AcmeAccountStatus, *acme.Problem) {
	status := account.Status
	message, problem := verify.AccountRequest(f.issuer, account, account.Spec.Update, acme.AccountPath(account.Name))
	if problem != nil {
		return status, problem
	}
	admitted, problem := policy.AdmitUpdate(message, &f.issuer.Spec.Account)
	if problem != nil {
		return status, problem
	}
	if admitted.Contact != nil {
		status.Contact = admitted.Contact
	}
	if admitted.TermsOfService != "" {
		status.TermsOfServiceAgreed = admitted.TermsOfService
	}
	return status, nil
}

// deactivate ends an account (RFC 8555 section 7.3.6).
func deactivate(account *v1alpha1.AcmeAccount, f facts) (v1alpha1.AcmeAccountStatus, *acme.Problem) {
	status, asked := account.Status, account.Spec.Deactivation
	if problem := verify.Deactivation(f.issuer, account, asked, acme.AccountPath(account.Name)); problem != nil {
		return status, problem
	}
	status.State = verify.EndState(asked)
	return status, nil
}
