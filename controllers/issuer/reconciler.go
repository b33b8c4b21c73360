// Package issuer holds the controller of issuers. It compiles their spec, loads their CA, publishes their roots, and publishes
// their last CRLs before they are deleted.
package issuer

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/authority"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/metrics"
	"github.com/acmeca/acmeca/controllers/serversecrets"
	"github.com/acmeca/acmeca/controllers/validation/network"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/policy/pods"
)

// secretsPeriod is how often the Secrets of an issuer are read again. They aren't watched, so that the controller needs no
// right to list Secrets.
const secretsPeriod = time.Minute

// Reconciler makes issuers ready: it checks their spec, makes or loads their CA, and publishes their URLs and roots.
type Reconciler struct {
	Client          client.Client
	Authorities     authority.Authorities
	ServerTLS       *serversecrets.TLSCertificate
	Trust           Trust
	TrustCopies     *TrustCopies
	CACRLs          CACRLs
	CompromisedKeys *issuers.CompromisedKeys
	Issuers         *issuers.Registry
	CRLs            *crl.Publisher
	Events          events.EventRecorder
	Clock           clock.PassiveClock
	ExternalURLs    []string
	PlainURL        string
	// Protected are addresses that validation doesn't connect to unless an issuer allows it.
	Protected []netip.Prefix
	// Denied are addresses that validation, resolvers, perspectives and proxies must never connect to, whatever an issuer allows.
	Denied []netip.Prefix
	// Hosts bounds the connections of all issuers' validations to each address.
	Hosts *network.Hosts
	// DefaultIssuer is the issuer that is also served under /acme.
	DefaultIssuer client.ObjectKey
	// Bound limits the issuers of each namespace; nil for no limit.
	Bound *Bound
	// Wake wakes the other controllers when an issuer changes.
	Wake []chan<- event.GenericEvent
	// PodCertificates is the reason of the condition PodCertificates; "" means ReasonPodsNotEnabled.
	PodCertificates string
	// Budget says how many bytes the issuer's objects use in etcd; nil for no ceilings.
	Budget *budget.Budget
	// Metrics drops the series of deleted issuers; nil for none.
	Metrics *metrics.Metrics
}

// SetupWithManager adds the controller to a manager. It also reconciles the issuers that come from keysReady.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, options controller.Options, keysReady <-chan event.GenericEvent) error {
	return ctrl.NewControllerManagedBy(mgr).Named("issuer").For(&v1alpha1.AcmeIssuer{}).WithOptions(options).
		Watches(&v1alpha1.AcmeIssuer{}, handler.EnqueueRequestsFromMapFunc(r.wakeDefault),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(keysReady, &handler.EnqueueRequestForObject{})).Complete(kube.RetryConflicts(r))
}

// Reconcile brings an issuer's status, and the issuer that the other controllers use, up to date.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.AcmeIssuer{}
	if err := r.Client.Get(ctx, request.NamespacedName, object); err != nil {
		if err := client.IgnoreNotFound(err); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, r.forget(ctx, request.NamespacedName)
	}
	if object.DeletionTimestamp != nil {
		return r.delete(ctx, object)
	}
	if added, err := r.addFinalizer(ctx, object); added || err != nil {
		return ctrl.Result{}, err // the change triggers another reconcile, and a second write here would conflict with it
	}
	base := object.DeepCopy()
	beyond, wait, err := r.Bound.fault(ctx, object)
	if err != nil || wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, err
	}
	known, _ := r.Issuers.Loaded(request.Namespace, request.Name)
	issuer, err := r.loadWithin(ctx, object, known, beyond)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.serve(ctx, request, issuer); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.publish(ctx, object, issuer); err != nil {
		return ctrl.Result{}, err
	}
	for _, warning := range r.Issuers.CRLWarnings(request.NamespacedName) {
		issuer.Warn("%s", warning)
	}
	if err := r.writeStatus(ctx, request, object, base, issuer); err != nil {
		return ctrl.Result{}, err
	}
	if issuer.Fault == nil || !issuer.Fault.Pending {
		r.announce(object, base)
	}
	r.announceStorage(object, base)
	r.noteReplacement(ctx, object, issuer, known)
	r.announceGrants(object, known)
	r.register(request, issuer)
	if issuer.Authority != nil && issuer.AffectsObjects(known) {
		r.wake(ctx, request)
	}
	return ctrl.Result{RequeueAfter: r.requeueAfter(issuer)}, nil
}

// publish publishes the CRLs of CAs and the roots of an issuer that has a CA.
func (r *Reconciler) publish(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	if issuer.Authority == nil {
		return nil
	}
	if err := r.keepChain(ctx, object, issuer); err != nil {
		return err
	}
	if err := r.CACRLs.Publish(ctx, object, issuer); err != nil {
		return err
	}
	if err := r.publishRoots(ctx, object, issuer); err != nil {
		return err
	}
	return r.TrustCopies.Publish(ctx, object, issuer)
}

// requeueAfter returns the time until the Secrets are read again: secretsPeriod, or less if the next root is due before or the key
// service is unavailable.
func (r *Reconciler) requeueAfter(issuer *issuers.Issuer) time.Duration {
	if issuer.Fault != nil && issuer.Fault.Reason == v1alpha1.ReasonKeyServiceUnavailable {
		return keyServicePeriod
	}
	if issuer.NextRootDue.IsZero() {
		return secretsPeriod
	}
	return min(secretsPeriod, max(issuer.NextRootDue.Sub(r.Clock.Now()), time.Millisecond)) // zero would mean never
}

// register puts a loaded issuer into the registry. An issuer without a CA can neither issue nor revoke, and is removed from it.
func (r *Reconciler) register(request ctrl.Request, issuer *issuers.Issuer) {
	if issuer.Authority == nil {
		r.Issuers.Remove(request.NamespacedName)
		return
	}
	r.Issuers.Put(request.NamespacedName, issuer)
}

// writeStatus writes the issuer's status. If the API server refuses the status, such as for a CA with too long a name, the issuer gets a
// fault, and the rest of the status stays as it was.
func (r *Reconciler) writeStatus(
	ctx context.Context, request ctrl.Request, object, base *v1alpha1.AcmeIssuer, issuer *issuers.Issuer,
) error {
	r.report(object, issuer)
	r.reportStorage(object)
	if issuer.Fault != nil {
		r.register(request, issuer) // before the status, so that an issuer that is shown as not ready issues no more
	}
	err := kube.WriteStatus(ctx, r.Client, object, base)
	if !apierrors.IsInvalid(err) {
		return err
	}
	issuer.Fault = &issuers.Fault{Reason: v1alpha1.ReasonCAUnavailable,
		Message: fmt.Sprintf("the CA does not fit the issuer's status: %v", err)}
	r.register(request, issuer)
	base.Status.DeepCopyInto(&object.Status)
	object.Status.ObservedGeneration = object.Generation
	r.setReady(object, issuer)
	r.setPodCertificates(object)
	r.reportStorage(object)
	return kube.WriteStatus(ctx, r.Client, object, base)
}

// publishRoots publishes the issuer's roots before they are in the status: a new root in the status may be issued from. If the
// API server refuses the ConfigMap, such as for a ResourceQuota, the status keeps its roots. An issuer without any is not ready.
func (r *Reconciler) publishRoots(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	err := r.Trust.Publish(ctx, object, issuer)
	if !kube.IsRefusal(err) {
		return err
	}
	issuer.Bundle = []byte(object.Status.CABundle)
	if object.Status.CABundle != "" {
		issuer.Warn("the roots can't be published: %v", err)
	} else if issuer.Fault == nil {
		issuer.Fault = &issuers.Fault{Reason: v1alpha1.ReasonCAUnavailable, Message: fmt.Sprintf("the roots can't be published: %v", err)}
	}
	return nil
}

// load compiles an AcmeIssuer and loads its CA. An issuer that can't issue has a Fault. The error is one of the Kubernetes API.
func (r *Reconciler) load(ctx context.Context, object *v1alpha1.AcmeIssuer, known *issuers.Issuer) (*issuers.Issuer, error) {
	issuer := &issuers.Issuer{Name: object.Name, Generation: object.Generation, Spec: object.Spec, Profiles: map[string]*ca.Profile{}}
	urls := object.Spec.ExternalURLs
	if len(urls) == 0 {
		urls = r.ExternalURLs
	}
	issuer.Bases = acme.Bases(urls, object.Namespace, object.Name, client.ObjectKeyFromObject(object) == r.DefaultIssuer)
	issuer.PlainBase = r.PlainURL + "/" + object.Namespace + "/" + object.Name
	if issuer.Fault = r.compile(ctx, object, issuer); issuer.Fault != nil && issuer.Fault.Transient != nil {
		return nil, issuer.Fault.Transient
	}
	f := r.loadCA(ctx, object, issuer, known)
	if f == nil {
		f = r.outage(issuer)
	}
	switch {
	case f != nil && f.Transient != nil:
		return nil, f.Transient
	case issuer.Fault == nil:
		issuer.Fault = f
	}
	if issuer.Fault == nil {
		issuer.Fault = checkProfiles(issuer)
	}
	if issuer.Fault == nil {
		warnSizes(issuer)
		for _, fault := range issuer.Policy.GrantFaults() {
			issuer.Warn("a grant is ignored: %s", fault)
		}
		issuer.Policy, issuer.CAKeys = issuer.Policy.Under(issuer.Authority.FullChain()), issuer.PublicKeys()
	}
	if err := r.countShards(ctx, object, issuer); err != nil {
		return nil, err
	}
	if err := r.CompromisedKeys.Load(ctx, client.ObjectKeyFromObject(object), issuer); err != nil {
		return nil, err
	}
	return issuer, nil
}

// compile checks the spec, and sets the issuer's policy, profiles and validator.
func (r *Reconciler) compile(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) *issuers.Fault {
	if object.Namespace == "acme" {
		return issuers.InvalidSpec(fmt.Errorf("metadata.namespace: an issuer in a namespace called \"acme\" can't be served: its URLs would be those of the default issuer"))
	}
	var err error
	if issuer.Policy, err = policy.New(&object.Spec); err != nil {
		return issuers.InvalidSpec(err)
	}
	if issuer.Pods, err = pods.New(&object.Spec); err != nil {
		return issuers.InvalidSpec(err)
	}
	for i, p := range object.Spec.Profiles {
		if issuer.Profiles[p.Name], err = ca.NewProfile(profileConfig(p)); err != nil {
			return issuers.InvalidSpec(fmt.Errorf("spec.profiles[%d].%w", i, err))
		}
	}
	var f *issuers.Fault
	issuer.Validator, f = r.validator(ctx, object)
	return f
}

// loadCA sets the CA of an issuer: the one in the Secrets, or else the CA that was loaded from them before. A missing or corrupt
// Secret does not invalidate a loaded key (docs/decisions/0030).
func (r *Reconciler) loadCA(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer, known *issuers.Issuer) *issuers.Fault {
	f := r.Authorities.Load(ctx, object, issuer)
	loaded := f == nil || f.Transient != nil || issuer.Authority != nil
	if loaded || known == nil || !sameCA(known.Spec.CA, object.Spec.CA) || r.Clock.Now().After(known.Authority.NotAfter()) {
		return f
	}
	issuer.Authority, issuer.Retired, issuer.Chain, issuer.Bundle = known.Authority, known.Retired, known.Chain, known.Bundle
	issuer.Roots, issuer.Revoked = known.Roots, known.Revoked
	if current := known.Authority.Certificate(); authority.IsRevoked(object, current) || known.IsRevoked(current) {
		return f // it still signs CRLs
	}
	issuer.Warn("the CA that was loaded before stays in use until the controller restarts: %s", f.Message)
	return nil
}

// sameCA reports whether two specs name the same CA. Settings for the next CA may differ.
func sameCA(a, b v1alpha1.CertificateAuthority) bool {
	if (a.External == nil) != (b.External == nil) || a.External != nil && a.External.KeyName != b.External.KeyName {
		return false
	}
	if a.SecretRef == nil || b.SecretRef == nil {
		return a.SecretRef == b.SecretRef
	}
	return *a.SecretRef == *b.SecretRef
}

// checkProfiles returns a fault for the first profile that can't be issued under the issuer's CA.
func checkProfiles(issuer *issuers.Issuer) *issuers.Fault {
	for i, p := range issuer.Spec.Profiles {
		if err := issuer.Authority.CheckProfile(issuer.Profiles[p.Name]); err != nil {
			return issuers.InvalidSpec(fmt.Errorf("spec.profiles[%d].%w", i, err))
		}
	}
	return nil
}

func profileConfig(p v1alpha1.Profile) ca.ProfileConfig {
	bounds := policy.ValidityBounds(p)
	config := ca.ProfileConfig{
		Name: p.Name, Lifetime: bounds.Lifetime, MaxLifetime: bounds.MaxLifetime, Backdate: bounds.Backdate, KeepCommonName: p.KeepCommonName,
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

// report sets the issuer's status.
func (r *Reconciler) report(object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) {
	status := &object.Status
	status.ObservedGeneration = object.Generation
	r.setReady(object, issuer)
	r.setPodCertificates(object)
	if issuer.External != nil || object.Spec.CA.External == nil {
		status.External = issuer.External
	}
	// Without a CA the published certificates stay: they still hold for issued certificates.
	if issuer.Authority != nil {
		status.CABundle = string(issuer.Bundle)
		status.IssuingCertificate = issuingCertificate(issuer)
		status.RetiredCertificates, status.CRLShards = "", reportShards(issuer)
		status.RevokedCertificates = string(ca.EncodeCertificates(issuer.Revoked...))
		for _, authority := range issuer.Retired {
			if issuer.IsRevoked(authority.Certificate()) {
				continue
			}
			status.RetiredCertificates += string(ca.EncodeCertificates(authority.Certificate()))
		}
	}
	if issuer.ServerChain != nil || client.ObjectKeyFromObject(object) != r.DefaultIssuer {
		status.ServerCertificate = string(issuer.ServerChain)
	}
	if issuer.Fault == nil {
		status.BaseURLs = nil
		for _, base := range issuer.Bases {
			status.BaseURLs = append(status.BaseURLs, string(base))
		}
		status.DirectoryURL = issuer.Bases[0].URL(acme.DirectoryPath)
	}
}

// setReady sets the issuer's Ready condition.
func (r *Reconciler) setReady(object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) {
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: "certificates are issued",
		ObservedGeneration: object.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	switch f := issuer.Fault; {
	case f != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, f.Reason, f.Message
	case object.Spec.Suspend:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, v1alpha1.ReasonSuspended, "spec.suspend is set: nothing is issued"
	case issuer.Warning != "":
		ready.Reason, ready.Message = v1alpha1.ReasonDegraded, ready.Message+", but "+issuer.Warning
	case issuer.Notice != "":
		ready.Message += "; " + issuer.Notice
	}
	ready.Message = acme.Printable(ready.Message, kube.MaxMessage)
	meta.SetStatusCondition(&object.Status.Conditions, ready)
}

// announce records an Event for a new fault or warning of an issuer.
func (r *Reconciler) announce(object, base *v1alpha1.AcmeIssuer) {
	now, before := meta.FindStatusCondition(object.Status.Conditions,
		v1alpha1.ConditionReady), meta.FindStatusCondition(base.Status.Conditions, v1alpha1.ConditionReady)
	if before != nil && before.Reason == now.Reason && before.Message == now.Message {
		return
	}
	switch now.Reason {
	case v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonCAUnavailable, v1alpha1.ReasonKeyServiceUnavailable, v1alpha1.ReasonTooManyIssuers,
		v1alpha1.ReasonDegraded:
		r.Events.Eventf(object, nil, "Warning", now.Reason, "Reconcile", "%s", acme.Printable(now.Message, maxEvent))
	}
}

// noteReplacement logs that a person replaced the CA in spec.ca.secretRef. It records an Event if the old CA signs no CRLs.
func (r *Reconciler) noteReplacement(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer, known *issuers.Issuer) {
	if known == nil || issuer.Authority == nil || object.Spec.CA.SecretRef == nil {
		return
	}
	certificate, old := issuer.Authority.Certificate(), known.Authority.Certificate()
	if v1alpha1.CAName(certificate) == v1alpha1.CAName(old) {
		return
	}
	audit.CAKey(ctx, audit.CAKeyReplaced, object, object.Spec.CA.SecretRef.Name, certificate, "it was brought")
	if issuer.AuthorityOf(v1alpha1.CAName(old)) == nil {
		r.Events.Eventf(object, nil, "Warning", "CAReplaced", "Reconcile",
			"CRLs for certificates from %q aren't signed any more: name a Secret with that CA in spec.ca.retired", acme.Printable(old.Subject.String(), 200))
	}
}

// maxEvent is the longest note that the API server takes in an Event.
const maxEvent = 1000

func (r *Reconciler) wake(ctx context.Context, request ctrl.Request) {
	object := &v1alpha1.AcmeIssuer{}
	object.Namespace, object.Name = request.Namespace, request.Name
	for _, wake := range r.Wake {
		select {
		case wake <- event.GenericEvent{Object: object}:
		case <-ctx.Done():
		}
	}
}

func issuingCertificate(issuer *issuers.Issuer) *v1alpha1.IssuingCertificate {
	certificate := issuer.Authority.Certificate()
	sum := sha256.Sum256(certificate.Raw)
	return &v1alpha1.IssuingCertificate{
		Subject:  certificate.Subject.String(),
		SHA256:   hex.EncodeToString(sum[:]),
		Chain:    string(issuer.Chain),
		NotAfter: metav1.NewTime(certificate.NotAfter),
	}
}
