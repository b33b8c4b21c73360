package controllers

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/policy"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/validation"
)

// secretsPeriod is how often the Secrets of an issuer are read again: they aren't watched, so that the controller needs
// no right to list Secrets.
const secretsPeriod = time.Minute

// IssuerReconciler makes issuers ready: it checks what their spec says, makes or loads their CA, and publishes what
// clients have to know.
type IssuerReconciler struct {
	Client       client.Client
	Authorities  Authorities
	ServerTLS    *ServerCertificate
	Issuers      *Issuers
	Events       events.EventRecorder
	Clock        clock.PassiveClock
	ExternalURLs []string
	PlainURL     string
	// Protected are addresses that validation doesn't connect to unless an issuer allows it.
	Protected []netip.Prefix
	// Hosts bounds the connections to each address, by the validations of all issuers.
	Hosts *validation.Hosts
	// DefaultIssuer is the one that is also served under /acme.
	DefaultIssuer client.ObjectKey
	// Wake tells the other controllers of an issuer that can issue again.
	Wake []chan<- event.GenericEvent
}

// Reconcile brings an issuer's status, and what the other controllers know of it, up to date.
func (r *IssuerReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.AcmeIssuer{}
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		if err := client.IgnoreNotFound(err); err != nil {
			return ctrl.Result{}, err
		}
		r.Issuers.remove(request.NamespacedName)
		r.wake(ctx, request) // what is under way has to end
		return ctrl.Result{}, nil
	}
	base := object.DeepCopy()
	issuer, fault := r.load(ctx, object)
	if fault != nil && fault.transient != nil {
		return ctrl.Result{}, fault.transient
	}
	if fault == nil && request.NamespacedName == r.DefaultIssuer {
		if err := r.ServerTLS.Ensure(ctx, issuer); err != nil {
			return ctrl.Result{}, err
		}
	}
	r.report(object, issuer, fault)
	if err := patchStatus(ctx, r.Client, object, base); err != nil {
		return ctrl.Result{}, err
	}
	if fault != nil {
		r.Issuers.remove(request.NamespacedName)
		logf.FromContext(ctx).Info("issuer is not ready", "reason", fault.reason, "message", fault.message)
		return ctrl.Result{RequeueAfter: secretsPeriod}, nil
	}
	known, had := r.Issuers.Get(request.Namespace, request.Name)
	r.Issuers.set(request.NamespacedName, issuer)
	if !had || known.Spec.Suspend != issuer.Spec.Suspend || known.Spec.CRL != issuer.Spec.CRL ||
		!known.Authority.Certificate().Equal(issuer.Authority.Certificate()) {
		r.wake(ctx, request)
	}
	return ctrl.Result{RequeueAfter: secretsPeriod}, nil
}

// fault is why an issuer can't issue. A transient one is an error of the Kubernetes API, and says nothing of the issuer.
type fault struct {
	reason, message string
	transient       error
}

func invalidSpec(err error) *fault {
	return &fault{reason: v1alpha1.ReasonInvalidSpec, message: err.Error()}
}

// load makes of an AcmeIssuer one that can issue, or says why it can't.
func (r *IssuerReconciler) load(ctx context.Context, object *v1alpha1.AcmeIssuer) (*Issuer, *fault) {
	if object.Namespace == "acme" {
		return nil, invalidSpec(fmt.Errorf("metadata.namespace: an issuer in a namespace called \"acme\" can't be served: its URLs would be taken for the default issuer's"))
	}
	issuer := &Issuer{Name: object.Name, Spec: object.Spec, Profiles: map[string]*ca.Profile{}}
	urls := object.Spec.ExternalURLs
	if len(urls) == 0 {
		urls = r.ExternalURLs
	}
	issuer.Bases = acme.Bases(urls, object.Namespace, object.Name, client.ObjectKeyFromObject(object) == r.DefaultIssuer)
	issuer.PlainBase = r.PlainURL + "/" + object.Namespace + "/" + object.Name
	var err error
	if issuer.Policy, err = policy.New(&object.Spec); err != nil {
		return nil, invalidSpec(err)
	}
	for i, p := range object.Spec.Profiles {
		if issuer.Profiles[p.Name], err = ca.NewProfile(profileConfig(p)); err != nil {
			return nil, invalidSpec(fmt.Errorf("spec.profiles[%d].%w", i, err))
		}
	}
	var f *fault
	if issuer.Validator, f = r.checker(ctx, object); f != nil {
		return nil, f
	}
	if f := r.Authorities.Load(ctx, object, issuer); f != nil {
		return nil, f
	}
	return issuer, nil
}

func profileConfig(p v1alpha1.Profile) ca.ProfileConfig {
	config := ca.ProfileConfig{
		Name: p.Name, Lifetime: p.Lifetime.Duration, Backdate: ca.DefaultBackdate(p.Lifetime.Duration), KeepCommonName: p.KeepCommonName,
	}
	if p.MaxLifetime != nil {
		config.MaxLifetime = p.MaxLifetime.Duration
	}
	usages := map[v1alpha1.Usage]x509.ExtKeyUsage{
		v1alpha1.UsageServerAuth: x509.ExtKeyUsageServerAuth,
		v1alpha1.UsageClientAuth: x509.ExtKeyUsageClientAuth,
	}
	for _, u := range p.Usages {
		config.ExtKeyUsages = append(config.ExtKeyUsages, usages[u])
	}
	return config
}

// report puts into status what became of the issuer.
func (r *IssuerReconciler) report(object *v1alpha1.AcmeIssuer, issuer *Issuer, f *fault) {
	status := &object.Status
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: "certificates are issued",
		ObservedGeneration: object.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	status.ObservedGeneration = object.Generation
	switch {
	case f != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, f.reason, acme.Printable(f.message, 1024)
	case object.Spec.Suspend:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, v1alpha1.ReasonSuspended, "spec.suspend is set: nothing is issued"
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	if f != nil {
		return // what was published for clients stays: it is still true of what was issued
	}
	status.BaseURLs = nil
	for _, base := range issuer.Bases {
		status.BaseURLs = append(status.BaseURLs, string(base))
	}
	status.DirectoryURL = issuer.Bases[0].URL(acme.DirectoryPath)
	status.CABundle = string(issuer.Bundle)
	status.IssuingCertificate = issuingCertificate(issuer)
}

func (r *IssuerReconciler) wake(ctx context.Context, request ctrl.Request) {
	object := &v1alpha1.AcmeIssuer{}
	object.Namespace, object.Name = request.Namespace, request.Name
	for _, wake := range r.Wake {
		select {
		case wake <- event.GenericEvent{Object: object}:
		case <-ctx.Done():
		}
	}
}
