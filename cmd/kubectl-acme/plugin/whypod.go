package plugin

import (
	"context"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/diagnose"
)

// podField is the selectable field of an order's Pod.
const podField = "spec.pod.name"

// whyPod diagnoses a Pod of the namespace. A deleted Pod has records. Requests, Events and records shorten the answer if the user
// may not read them.
func (o *options) whyPod(ctx context.Context, name string) (diagnose.Diagnosis, error) {
	pod, err := get[corev1.Pod](ctx, o, name)
	if err != nil {
		return diagnose.Diagnosis{}, err
	}
	f := diagnose.PodFacts{Now: o.now(), Key: o.objectKey(name), Pod: pod}
	this := func(uid types.UID) bool { return pod == nil || uid == pod.UID }
	if f.Requests, err = o.requestsOf(ctx, name, this); err != nil {
		return diagnose.Diagnosis{}, err
	}
	if f.Orders, err = o.recordsOf(ctx, name, pod, this); err != nil {
		return diagnose.Diagnosis{}, err
	}
	f.Events = o.podEvents(ctx, name, this)
	if pod == nil && len(f.Requests)+len(f.Orders)+len(f.Events) == 0 {
		return diagnose.Diagnosis{}, fmt.Errorf("no pod %q in namespace %q, and no record of a certificate of it", name, o.namespace)
	}
	return diagnose.Pod(f), nil
}

// requestsOf returns the Pod's requests to issuers, the newest first; none before Kubernetes 1.37.
func (o *options) requestsOf(ctx context.Context, pod string, this func(types.UID) bool) ([]certificatesv1.PodCertificateRequest, error) {
	var requests []certificatesv1.PodCertificateRequest
	visit := func(list *certificatesv1.PodCertificateRequestList) bool {
		for _, request := range list.Items {
			if _, ours := v1alpha1.IssuerOfSigner(request.Spec.SignerName); ours && request.Spec.PodName == pod && this(request.Spec.PodUID) {
				requests = append(requests, request)
			}
		}
		return true
	}
	err := pages(ctx, o.kube, visit, client.InNamespace(o.namespace))
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		err = nil
	}
	slices.SortStableFunc(requests, func(a, b certificatesv1.PodCertificateRequest) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	return requests, err
}

// recordsOf returns the orders of the Pod's certificates, the newest first: from the namespaces of the issuers that its volumes name, or
// from all namespaces for a Pod that was deleted.
func (o *options) recordsOf(ctx context.Context, name string, pod *corev1.Pod, this func(types.UID) bool) ([]v1alpha1.AcmeOrder, error) {
	namespaces := []string{""}
	if pod != nil {
		namespaces = nil
		for _, signer := range diagnose.PodSigners(pod) {
			issuer, _ := v1alpha1.IssuerOfSigner(signer)
			namespaces = append(namespaces, issuer.Namespace)
		}
		slices.Sort(namespaces)
	}
	var orders []v1alpha1.AcmeOrder
	visit := func(list *v1alpha1.AcmeOrderList) bool {
		for _, order := range list.Items {
			if source := order.Spec.Pod; source != nil && source.Namespace == o.namespace && this(source.UID) {
				orders = append(orders, order)
			}
		}
		return true
	}
	for _, namespace := range slices.Compact(namespaces) {
		err := pages(ctx, o.kube, visit, client.InNamespace(namespace), client.MatchingFields{podField: name})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
	}
	newestFirst(orders)
	return orders, nil
}

// podEvents returns the Events about the requests of a Pod, the newest first.
func (o *options) podEvents(ctx context.Context, name string, this func(types.UID) bool) []diagnose.Refusal {
	return o.events(ctx, client.MatchingFields{"regarding.kind": "Pod", "regarding.name": name}, func(e *eventsv1.Event) bool {
		return e.Related != nil && e.Related.Kind == "PodCertificateRequest" && this(e.Regarding.UID)
	})
}
