// Package podcertificate holds the controller of PodCertificateRequests: it issues certificates to Pods, which then need no ACME
// client.
//
// The reconciler reads the facts that a decision rests on (facts.go), decides in a pure function (decide.go), and applies the step.
// Each certificate is recorded in an AcmeOrder before it is delivered, so that it can be revoked like any other, and so that a request
// gets one certificate alone, whenever a controller dies.
package podcertificate

import (
	"context"
	"errors"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/metrics"
)

// Reconciler answers PodCertificateRequests to issuers.
type Reconciler struct {
	// Client reads requests from the cache.
	Client client.Client
	// Live reads Pods, ServiceAccounts, namespaces and Services past every cache.
	Live            client.Reader
	Issuers         *issuers.Registry
	CompromisedKeys *issuers.CompromisedKeys
	Budget          *budget.Budget
	Events          events.EventRecorder
	Clock           clock.PassiveClock
	Metrics         *metrics.Metrics
}

// Reconcile answers a request, or leaves it pending.
func (r *Reconciler) Reconcile(ctx context.Context, key ctrl.Request) (ctrl.Result, error) {
	request := &certificatesv1.PodCertificateRequest{}
	if err := r.Client.Get(ctx, key.NamespacedName, request); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	issuer, ours := issuerOf(request)
	if !ours {
		return ctrl.Result{}, nil
	}
	f, err := r.gather(ctx, request, issuer)
	if err != nil {
		return ctrl.Result{}, err
	}
	s := decide(request, issuer, f)
	switch {
	case s.deny != "":
		return ctrl.Result{}, r.deny(ctx, request, issuer, s)
	case s.issue != nil:
		s, err = r.issue(ctx, request, issuer, f, s)
	}
	if s.pending != "" {
		r.event(request, f.pod, "Warning", s.pending, "Wait", s.message)
	}
	return ctrl.Result{RequeueAfter: s.wait}, err
}

// issuerOf returns the issuer that a request without an answer is for. ok is false for requests that other signers answer.
func issuerOf(request *certificatesv1.PodCertificateRequest) (issuer types.NamespacedName, ok bool) {
	if len(request.Status.Conditions) > 0 {
		return issuer, false
	}
	return v1alpha1.IssuerOfSigner(request.Spec.SignerName)
}

// deny writes the Denied condition, which is final.
func (r *Reconciler) deny(ctx context.Context, request *certificatesv1.PodCertificateRequest, issuer types.NamespacedName, s step) error {
	answered := request.DeepCopy()
	answered.Status.Conditions = append(answered.Status.Conditions,
		condition(certificatesv1.PodCertificateRequestConditionTypeDenied, s.deny, acme.Printable(s.message, kube.MaxMessage), r.Clock.Now()))
	if err := r.answer(ctx, answered); err != nil {
		return err
	}
	audit.PodDenied(ctx, issuer, request, s.deny, s.message)
	r.Metrics.PodAnswered(issuer, s.deny)
	r.event(request, nil, "Warning", "PodCertificateDenied", "Deny", s.deny+": "+s.message)
	return nil
}

// issue records the certificate of a request, and delivers it. Issuing again delivers the same certificate.
func (r *Reconciler) issue(
	ctx context.Context, request *certificatesv1.PodCertificateRequest, key types.NamespacedName, f facts, s step,
) (step, error) {
	record, use, err := r.record(ctx, recordOf(request, key, s.issue.grant), f.now)
	if err != nil {
		return step{}, err
	}
	switch use {
	case useReplace:
		return step{wait: time.Second}, client.IgnoreNotFound(r.Client.Delete(ctx, record, client.Preconditions{UID: &record.UID}))
	case useNothing:
		return waiting("CertificateNotDelivered", "order %s has a certificate for this request that can't be delivered any more; "+
			"the kubelet asks again after this request is deleted", record.Name), nil
	case useSign:
		if s, err := r.sign(ctx, request, record, f, s.issue); err != nil || s.pending != "" {
			return s, err
		}
	}
	answered := request.DeepCopy()
	if answered.Status, err = deliver(record, request, f.now); err != nil {
		return step{}, err
	}
	if err := r.answer(ctx, answered); err != nil {
		return step{}, err
	}
	r.Metrics.PodAnswered(key, v1alpha1.ReasonIssued)
	return step{}, nil
}

// record creates the record of a certificate, or returns the one that an earlier attempt left.
func (r *Reconciler) record(ctx context.Context, wanted *v1alpha1.AcmeOrder, now time.Time) (*v1alpha1.AcmeOrder, use, error) {
	created := wanted.DeepCopy()
	err := r.Client.Create(ctx, created)
	if !apierrors.IsAlreadyExists(err) {
		return created, useSign, err
	}
	stored, err := read[v1alpha1.AcmeOrder](ctx, r.Live, wanted.Namespace, wanted.Name)
	if err == nil && stored == nil {
		err = apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("acmeorders").GroupResource(), wanted.Name, errors.New("it was deleted"))
	}
	if err != nil {
		return nil, useSign, err
	}
	return stored, useOf(stored, wanted, now), nil
}

// sign signs the certificate of a record, and stores it there.
func (r *Reconciler) sign(
	ctx context.Context, request *certificatesv1.PodCertificateRequest, record *v1alpha1.AcmeOrder, f facts, i *issuance,
) (step, error) {
	body, ok := certificateRequest(record, request, f.issuer, i)
	if !ok {
		s := waiting("CAExpiresSoon", "the CA of AcmeIssuer %s/%s expires in less than an hour", record.Namespace, f.issuer.Name)
		s.wait = pendingRetry
		return s, nil
	}
	begun := time.Now()
	prepared, err := f.issuer.Authority.Prepare(f.issuer.Profiles[record.Spec.Profile], body)
	if err != nil {
		return step{}, fmt.Errorf("prepare the certificate of Pod %s/%s: %w", request.Namespace, request.Spec.PodName, err)
	}
	linted := time.Now()
	certificate, err := f.issuer.Authority.Sign(prepared)
	if failure, ok := errors.AsType[*keyservice.Error](err); ok {
		return awaitKey(failure), nil
	}
	if err != nil {
		return step{}, fmt.Errorf("sign the certificate of Pod %s/%s: %w", request.Namespace, request.Spec.PodName, err)
	}
	r.Metrics.CertificateSigned(linted.Sub(begun), time.Since(linted))
	before := record.DeepCopy()
	store(record, certificate, f.issuer, f.now)
	if err := kube.WriteStatus(ctx, r.Client, record, before); err != nil {
		return step{}, err
	}
	audit.Order(ctx, before, record, nil)
	r.Metrics.OrderChanged(before, record, true, f.now)
	return step{}, nil
}

// answer writes the status of a request. A refusal is a fault of the installation, and leaves the request pending.
func (r *Reconciler) answer(ctx context.Context, request *certificatesv1.PodCertificateRequest) error {
	err := r.Client.Status().Update(ctx, request)
	if kube.IsRefusal(err) {
		r.event(request, nil, "Warning", "AnswerRefused", "Answer", err.Error())
	}
	return client.IgnoreNotFound(err)
}

// event records an Event about a request on its Pod, where people look.
func (r *Reconciler) event(request *certificatesv1.PodCertificateRequest, pod *corev1.Pod, kind, reason, action, message string) {
	var regarding runtime.Object = pod
	if pod == nil {
		named := &corev1.Pod{}
		named.Namespace, named.Name, named.UID = request.Namespace, request.Spec.PodName, request.Spec.PodUID
		regarding = named
	}
	r.Events.Eventf(regarding, request, kind, reason, action, "%s", acme.Printable(message, 1000))
}
