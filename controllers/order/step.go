package order

import (
	"crypto/x509"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/validation"
)

// step is what is to be done for an order. The zero step does nothing.
type step struct {
	// wait is when the order is reconciled again without an event; zero for never.
	wait time.Duration
	// recheck is whether the step rests on the cached account, and is to be decided again with the stored account.
	recheck bool

	// problem fails the order, or refuses its revocation if revocation is set.
	problem *acme.Problem
	// refusals has the client's request that the problem refuses, if it is to be reported.
	refusals []kube.Refusal
	// state and condition are written to the status unless they are zero.
	state     acme.State
	condition *metav1.Condition

	// checkCAA are the names whose CAA records are to be checked.
	checkCAA []validation.Request
	// issue is the certificate to be signed; certificate is the signed certificate.
	issue       *issuance
	certificate *x509.Certificate
	// revocation is the decision about a revocation request.
	revocation *v1alpha1.HandledRequest
	// endAuthorizations are the authorizations that end with the revocation.
	endAuthorizations []v1alpha1.AcmeAuthorization

	addFinalizer, removeFinalizer bool
	// discard is whether the order is deleted.
	discard bool
}

const (
	// keyRetry is when an order is signed again if the key service may recover by itself; keyRepair if a person must act.
	keyRetry  = 2 * time.Second
	keyRepair = 30 * time.Second
)

// awaitKey returns the step of an order whose CA key can't sign now. The order stays "processing" for its client.
func awaitKey(failure *keyservice.Error) step {
	message := acme.Printable("the order waits for the CA's key: "+failure.Message, kube.MaxMessage)
	s := step{wait: keyRepair, condition: notReady(v1alpha1.ReasonKeyServiceUnavailable, message)}
	if failure.Retry {
		s.wait = keyRetry
	}
	return s
}

// failed returns the step that fails an order.
func failed(problem *acme.Problem) step {
	return step{problem: problem, state: acme.StateInvalid, condition: notReady(reasonOf(problem), problem.Detail)}
}

// onAccount marks a step that rests on the cached account.
func (s step) onAccount() step {
	s.recheck = true
	return s
}

// refusing reports that the problem refuses a client's request.
func (s step) refusing(request string) step {
	s.refusals = []kube.Refusal{{Request: request, Problem: s.problem}}
	return s
}

// change makes the step's changes in an order's status.
func (s step) change(order *v1alpha1.AcmeOrder, f facts) {
	status := &order.Status
	before := status.State
	if s.state != "" {
		status.State = s.state
	}
	condition := s.condition
	switch {
	case s.revocation != nil:
		status.Revocation = s.revocation
		if s.problem == nil {
			now := metav1.NewTime(f.now)
			status.RevokedAt = &now
			if order.ReportsCompromise() {
				status.KeyFingerprint = f.revocation.keyFingerprint
			}
		}
	case s.problem != nil:
		status.Problem = v1alpha1.ProblemFrom(s.problem)
	case s.certificate != nil:
		record(status, s.certificate, f.issuer)
		status.CRL = f.issuer.CRLOf(order)
		condition = &metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}
	}
	switch {
	case s.certificate != nil:
		status.Expires = nil // ExpiresAt derives it
	case f.issuer != nil && before != status.State:
		expires := order.ExpiresAt(f.issuer.Spec.Lifetimes)
		status.Expires = &expires
	}
	if condition != nil {
		c := *condition
		c.Type, c.LastTransitionTime = v1alpha1.ConditionReady, metav1.NewTime(f.now)
		if s.certificate == nil { // the state is final otherwise
			c.ObservedGeneration = order.Generation
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
}

// record writes a certificate to the status of its order. The chain stands in the issuer's status, if there is room.
func record(status *v1alpha1.AcmeOrderStatus, certificate *x509.Certificate, issuer *issuers.Issuer) {
	notBefore, notAfter := metav1.NewTime(certificate.NotBefore), metav1.NewTime(certificate.NotAfter)
	status.State, status.Problem = acme.StateValid, nil
	status.Certificate, status.Chain = string(ca.EncodeCertificates(certificate)), issuer.ChainID
	if issuer.ChainID == "" {
		status.Certificate += string(issuer.Chain)
	}
	status.Serial = v1alpha1.SerialText(certificate.SerialNumber)
	status.NotBefore, status.NotAfter = &notBefore, &notAfter
}

func notReady(reason, message string) *metav1.Condition {
	return &metav1.Condition{Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// reasonOf returns the reason of a condition for a problem's type: "BadCSR" for "badCSR". A type that is not registered may be any
// text of a perspective, and not fit for a reason.
func reasonOf(problem *acme.Problem) string {
	t := string(problem.Type)
	if !problem.Type.Registered() || t == "" {
		return "Failed"
	}
	return string(t[0]-'a'+'A') + t[1:]
}
