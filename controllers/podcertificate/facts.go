package podcertificate

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

// facts are the basis of a decision about a request, beside the request itself. All but the issuer are read live, since Denied is final.
type facts struct {
	now time.Time
	// issuer can issue; nil if not. unready is why it cannot; "" if it is not loaded yet.
	issuer  *issuers.Issuer
	unready string
	// overBudget is whether the issuer's objects use too many bytes.
	overBudget bool
	// pod, account and namespace are those that the request names; nil for one that does not exist.
	pod       *corev1.Pod
	account   *corev1.ServiceAccount
	namespace *corev1.Namespace
	// services are the names of the Services that select the Pod.
	services []string
	// keyProblem is the problem of a key that is known to be compromised.
	keyProblem *acme.Problem
}

// gather reads the facts about a request to an issuer.
func (r *Reconciler) gather(ctx context.Context, request *certificatesv1.PodCertificateRequest, key types.NamespacedName) (facts, error) {
	f := facts{now: r.Clock.Now(), overBudget: r.Budget.Exceeds(key.Namespace, key.Name)}
	var err error
	if f.issuer, _ = r.Issuers.ReadyToIssue(key.Namespace, key.Name); f.issuer == nil {
		f.unready, err = r.readUnready(ctx, key)
		return f, err
	}
	if f.issuer.Pods == nil {
		return f, nil
	}
	if f.pod, err = read[corev1.Pod](ctx, r.Live, request.Namespace, request.Spec.PodName); err != nil || f.pod == nil {
		return f, err
	}
	if f.account, err = read[corev1.ServiceAccount](ctx, r.Live, request.Namespace, request.Spec.ServiceAccountName); err != nil {
		return f, err
	}
	if f.namespace, err = read[corev1.Namespace](ctx, r.Live, "", request.Namespace); err != nil {
		return f, err
	}
	var list corev1.ServiceList
	if err := r.Live.List(ctx, &list, client.InNamespace(request.Namespace)); err != nil {
		return f, err
	}
	f.services = selecting(list.Items, f.pod.Labels)
	if csr, err := x509.ParseCertificateRequest(request.Spec.StubPKCS10Request); err == nil {
		f.keyProblem, err = r.CompromisedKeys.Fault(ctx, newRecord(request, key, ""), csr.PublicKey)
		return f, err
	}
	return f, nil
}

// readUnready returns why an issuer cannot issue. After a restart, an issuer that is ready may not be loaded yet.
func (r *Reconciler) readUnready(ctx context.Context, key types.NamespacedName) (string, error) {
	issuer, err := read[v1alpha1.AcmeIssuer](ctx, r.Live, key.Namespace, key.Name)
	if err != nil {
		return "", err
	}
	if issuer == nil {
		return fmt.Sprintf("there is no AcmeIssuer %s", key), nil
	}
	if ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); ready != nil &&
		ready.Status == metav1.ConditionFalse {
		return fmt.Sprintf("AcmeIssuer %s is not ready: %s", key, ready.Message), nil
	}
	return "", nil
}

// selecting returns the names of the Services that select a Pod, sorted. A Service without a selector selects none, and an
// ExternalName stands for another host.
func selecting(services []corev1.Service, podLabels map[string]string) []string {
	var names []string
	for _, service := range services {
		if len(service.Spec.Selector) > 0 && service.Spec.Type != corev1.ServiceTypeExternalName && service.DeletionTimestamp == nil &&
			labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(podLabels)) {
			names = append(names, service.Name)
		}
	}
	slices.Sort(names)
	return names
}

// read returns an object, or nil if there is none.
func read[T any, P interface {
	*T
	client.Object
}](ctx context.Context, reader client.Reader, namespace, name string) (P, error) {
	object := P(new(T))
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return object, nil
}
