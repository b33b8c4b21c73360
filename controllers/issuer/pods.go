package issuer

import (
	"cmp"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// setPodCertificates sets the condition that says whether an issuer with spec.podCertificates serves Pods.
func (r *Reconciler) setPodCertificates(object *v1alpha1.AcmeIssuer) {
	if object.Spec.PodCertificates == nil {
		meta.RemoveStatusCondition(&object.Status.Conditions, v1alpha1.ConditionPodCertificates)
		return
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionPodCertificates, Status: metav1.ConditionFalse, Reason: cmp.Or(r.PodCertificates, v1alpha1.ReasonPodsNotEnabled),
		ObservedGeneration: object.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	switch c.Reason {
	case v1alpha1.ReasonPodsServed:
		c.Status, c.Message = metav1.ConditionTrue, "Pods get certificates from the signer "+v1alpha1.PodSigner(object.Namespace, object.Name)
	case v1alpha1.ReasonPodsNotSupported:
		c.Message = "this API server has no PodCertificateRequests (certificates.k8s.io/v1), which Kubernetes has from 1.37; restart the controllers after an upgrade"
	default:
		c.Message = "the controllers run without --pod-certificates, which the kustomize component config/pod-certificates and the chart value podCertificates.enabled set"
	}
	meta.SetStatusCondition(&object.Status.Conditions, c)
}
