package order

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/policy"
)

const (
	// readyDelay is how long a client may take to finalize before "ready" is stored. The ACME server tells clients that they can
	// finalize without it. "ready" is for people, and costs a write only if the client is slow.
	readyDelay = 2 * time.Second
	// missingDelay is the wait for an object that an order refers to and that the cache does not have yet.
	missingDelay = time.Second
)

// stage is the part of an order's life that it is in.
type stage int

const (
	stageDone    stage = iota // nothing is left to do
	stageIssue                // neither valid nor invalid
	stageRevoke               // valid, with a revocation that is not decided
	stageRelease              // being deleted or kept by the finalizer, and not to be revoked
)

func stageOf(order *v1alpha1.AcmeOrder) stage {
	switch pending := order.RevocationPending(); {
	case order.DeletionTimestamp != nil && (!pending || order.Status.State == acme.StateInvalid):
		return stageRelease
	case refusedButKept(order):
		return stageRelease
	case !order.Finished():
		return stageIssue
	case pending && order.Status.State == acme.StateValid:
		return stageRevoke
	}
	return stageDone
}

// decide returns the next step of an order. It is pure: it reads no cluster, sends nothing and changes neither order nor facts.
func decide(order *v1alpha1.AcmeOrder, f facts) step {
	switch stageOf(order) {
	case stageIssue:
		return decideIssuing(order, f)
	case stageRevoke:
		return decideRevoking(order, f)
	case stageRelease:
		return decideRelease(order, f)
	}
	return step{}
}

// refusedButKept reports whether an order still has the finalizer for a revocation that was refused. The retention sweep removes
// the finalizer of other orders, such as those that an earlier version created with it.
func refusedButKept(order *v1alpha1.AcmeOrder) bool {
	return order.Status.Revocation != nil && order.KeptForNothing()
}

// decideRelease removes the finalizer, unless the CRL still lacks the revocation: then the CRL publisher removes the finalizer.
func decideRelease(order *v1alpha1.AcmeOrder, f facts) step {
	return step{removeFinalizer: !order.OwesRevocation() || f.issuerEnding}
}

// decideIssuing decides about an order that is neither valid nor invalid. The first case that applies decides.
func decideIssuing(order *v1alpha1.AcmeOrder, f facts) (s step) {
	switch {
	case f.overBudget && order.DeletionTimestamp == nil:
		s.discard = true
	case order.Spec.Pod == nil && !order.CreatedAsNamed():
		s = failed(acme.NewProblem(acme.ServerInternal, "the order was not created at the time in its name, but at %s", order.CreationTimestamp.UTC().Format(time.RFC3339)))
	case f.issuer != nil && order.Spec.Pod != nil:
		s = decideOfPod(order, f)
	case f.issuer != nil:
		s = decideUnfinished(order, f)
	case f.issuerEnding:
		s = failed(verify.IssuerDeleted(order.Spec.IssuerRef))
	case f.issuerFault != "" && order.Finalized():
		s.condition = notReady(v1alpha1.ReasonIssuerNotReady,
			acme.Printable("the issuer can't issue now: "+f.issuerFault, kube.MaxMessage))
	}
	return s
}

// decideOfPod ends an order for a Pod that package podcertificate left without a certificate.
func decideOfPod(order *v1alpha1.AcmeOrder, f facts) step {
	expires := order.ExpiresAt(f.issuer.Spec.Lifetimes)
	if wait := expires.Sub(f.now); wait > 0 {
		return step{wait: wait}
	}
	return failed(acme.NewProblem(acme.Malformed, "the Pod got no certificate before the order expired at %s",
		expires.UTC().Format(time.RFC3339)))
}

// decideUnfinished decides about an order whose issuer can issue. The first case that applies decides. In a case without a step the
// order waits for an event, or for its expiry.
func decideUnfinished(order *v1alpha1.AcmeOrder, f facts) step {
	expires := order.ExpiresAt(f.issuer.Spec.Lifetimes)
	s := step{wait: expires.Sub(f.now)}
	ended, replacement, proofs := verify.AccountEnded(f.account), replacementProblem(order, f), proofsOf(order, f)
	switch {
	case ended != nil:
		s = failed(ended).onAccount()
	case replacement != nil:
		s = failed(replacement)
	case s.wait <= 0:
		s = failed(acme.NewProblem(acme.Malformed, "the order was not finished before it expired at %s", expires.UTC().Format(time.RFC3339)))
	case f.issuer.Spec.Suspend:
	case proofs.problem != nil && proofs.granted && f.issuerOutdated:
		s.wait = missingDelay
	case proofs.problem != nil:
		s = failed(proofs.problem)
		s.recheck = proofs.granted
	case proofs.missing:
		s.wait = missingDelay
	case !proofs.complete:
	case !order.Finalized():
		s = decideReady(order, f, s)
	case f.account == nil && f.now.Sub(order.CreationTimestamp.Time) < kube.MissingGrace:
		s.wait = missingDelay
	case f.account == nil:
		s = failed(verify.NoAccount(order.Spec.AccountRef.Name)).onAccount()
	default:
		s = decideFinalized(order, f, s)
	}
	if s.problem == nil && !proofs.until.IsZero() {
		s.wait = min(s.wait, proofs.until.Sub(f.now))
	}
	return s
}

// replacementProblem returns why an order can't replace the certificate that it names (RFC 9773 section 5). An unknown
// certificate that no other order replaces is accepted.
func replacementProblem(order *v1alpha1.AcmeOrder, f facts) *acme.Problem {
	if order.Spec.Replaces == "" {
		return nil
	}
	if _, problem := acme.ParseCertID(order.Spec.Replaces); problem != nil {
		return problem
	}
	if f.replaced != nil {
		if problem := policy.Replaces(f.replaced, order.Spec.AccountRef.Name, order.Names()); problem != nil {
			return problem
		}
	}
	if f.taken {
		return policy.AlreadyReplaced()
	}
	return nil
}

// decideReady stores that the order waits for its client, once it has waited for readyDelay.
func decideReady(order *v1alpha1.AcmeOrder, f facts, s step) step {
	if order.Status.State == acme.StateReady {
		return s
	}
	if wait := authorizedSince(order, f).Add(readyDelay).Sub(f.now); wait > 0 {
		return step{wait: wait}
	}
	s.state = acme.StateReady
	s.condition = &metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAuthorized, Message: "every identifier is authorized; the client has yet to finalize"}
	return s
}

// decideFinalized issues the certificate of an order whose identifiers are all authorized. The client's signature comes first:
// nothing is looked up for a request that the client did not make.
func decideFinalized(order *v1alpha1.AcmeOrder, f facts, s step) step {
	csr, problem := verify.Finalization(f.issuer, f.account, order)
	if problem != nil {
		return failed(problem).onAccount().refusing("Finalization")
	}
	admitted, problem := admit(order, f, csr)
	if problem != nil {
		return failed(problem).onAccount()
	}
	return decideCAA(order, f, s, admitted)
}
