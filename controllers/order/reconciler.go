// Package order holds the controller of orders: it issues certificates and revokes them.
//
// The reconciler reads the facts that a decision rests on (facts.go), decides in a pure function (decide.go), and applies the step:
// at most one write.
package order

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/metrics"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/tracing"
)

// Reconciler issues certificates, and revokes them.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache, where a stale answer would do harm.
	Live            client.Reader
	Issuers         *issuers.Registry
	CompromisedKeys *issuers.CompromisedKeys
	CAA             *attempts.CAAChecks
	Replacements    *Replacements
	// Budget says whether the issuer's objects use too many bytes; nil for no ceilings.
	Budget  *budget.Budget
	Events  events.EventRecorder
	Clock   clock.PassiveClock
	Metrics *metrics.Metrics
	Tracer  *tracing.Tracer
}

// Reconcile takes an order one step on.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	order := &v1alpha1.AcmeOrder{}
	err := r.Client.Get(ctx, request.NamespacedName, order)
	if err != nil || order.Finished() {
		r.CAA.Forget(request.NamespacedName)
		r.Replacements.Forget(request.NamespacedName)
	}
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	begun := time.Now()
	f, err := r.gather(ctx, order)
	if err != nil {
		return ctrl.Result{}, err
	}
	s := decide(order, f)
	if s.recheck && !f.accountLive {
		if err := r.readLive(ctx, order, &f); err != nil {
			return ctrl.Result{}, err
		}
		s = decide(order, f)
	}
	if s.issue != nil {
		if s, err = r.issue(ctx, order, f.issuer, s); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.apply(ctx, order, f, s, begun); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: s.wait}, nil
}

// issue signs the certificate of a step, or fails the order. An order whose CA key is in a key service that does not sign waits.
//
// Issuing again returns the same to-be-signed bytes. Their signature is the same too, unless an ECDSA key is in a key service. So the
// write of the status decides which certificate is issued: one writer wins, and the certificate of another one is never handed out.
func (r *Reconciler) issue(ctx context.Context, order *v1alpha1.AcmeOrder, issuer *issuers.Issuer, s step) (step, error) {
	replaced, err := r.Replacements.reserve(ctx, order)
	if err != nil {
		return s, err
	}
	if replaced {
		return failed(policy.AlreadyReplaced()), nil
	}
	certificate, err := r.sign(order, issuer.Authority, s.issue)
	if failure, ok := errors.AsType[*keyservice.Error](err); ok {
		return awaitKey(failure), nil
	}
	if err != nil {
		return failed(certificateProblem(err)), nil
	}
	s.certificate = certificate
	return s, nil
}

// sign makes the certificate in the CA's two steps.
func (r *Reconciler) sign(order *v1alpha1.AcmeOrder, authority *ca.Authority, i *issuance) (*x509.Certificate, error) {
	if err := authority.Usable(); err != nil {
		return nil, err
	}
	begun := time.Now()
	prepared, err := authority.Prepare(i.profile, i.request)
	if err != nil {
		return nil, err
	}
	linted := time.Now()
	certificate, err := authority.Sign(prepared)
	if err != nil {
		return nil, err
	}
	signed := time.Now()
	r.Metrics.CertificateSigned(linted.Sub(begun), signed.Sub(linted))
	r.Tracer.Continue(order.Annotations, "lint", begun).End(linted)
	r.Tracer.Continue(order.Annotations, "sign", linted).End(signed)
	return certificate, nil
}

// certificateProblem returns the problem of an order whose certificate could not be signed.
func certificateProblem(err error) *acme.Problem {
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return problem
	}
	return acme.NewProblem(acme.ServerInternal, "the certificate could not be made: %v", err)
}

// apply carries out a step: at most one write of the order, and then the Events, audit lines, metrics and trace of the change.
func (r *Reconciler) apply(ctx context.Context, order *v1alpha1.AcmeOrder, f facts, s step, begun time.Time) error {
	decisions := kube.Decisions{Client: r.Client, Events: r.Events}
	switch {
	case s.discard:
		r.Budget.Discarded("AcmeOrder")
		return decisions.Discard(ctx, order)
	case s.addFinalizer:
		return kube.AddFinalizer(ctx, r.Client, order) // whose event starts the next step
	case s.removeFinalizer:
		return kube.RemoveFinalizer(ctx, r.Client, order)
	case s.checkCAA != nil:
		r.CAA.Start(client.ObjectKeyFromObject(order), order.UID, f.issuer, f.account, s.checkCAA)
	}
	if err := r.endAuthorizations(ctx, order, s.endAuthorizations); err != nil {
		return err
	}
	changed := order.DeepCopy()
	s.change(changed, f)
	if err := decisions.Write(ctx, changed, order, order.Spec.IssuerRef, s.refusals...); err != nil {
		return err
	}
	r.Replacements.Known.Note(changed) // before the reservation ends
	audit.Order(ctx, order, changed, f.account)
	r.Metrics.OrderChanged(order, changed, f.issuer != nil, f.now)
	if s.certificate != nil {
		r.Metrics.FinalizeSkewed(s.issue.skew)
	}
	r.trace(order, changed, begun)
	return nil
}

// trace adds the end of an order to its trace: from the read of the order to its write.
func (r *Reconciler) trace(before, order *v1alpha1.AcmeOrder, begun time.Time) {
	if r.Tracer == nil || before.Status.State == order.Status.State || !order.Finished() {
		return
	}
	span := r.Tracer.Continue(order.Annotations, "issue", begun)
	span.Text("acmeca.order", order.Name)
	span.Text("acmeca.serial", order.Status.Serial)
	if order.Status.Problem != nil {
		span.Fail(order.Status.Problem.ACME().Error())
	}
	span.End(time.Now())
}
