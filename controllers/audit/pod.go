package audit

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// PodDenied logs that a Pod's request for a certificate was denied.
func PodDenied(ctx context.Context, key types.NamespacedName, request *certificatesv1.PodCertificateRequest, reason, detail string) {
	write(ctx, requestRefused, podFields(issuer(key.Namespace, key.Name), &v1alpha1.PodSource{
		Namespace: request.Namespace, Name: request.Spec.PodName, ServiceAccountName: request.Spec.ServiceAccountName,
		NodeName: string(request.Spec.NodeName),
	}).text("request", "PodCertificate").text("problem", reason).text("detail", detail))
}

// podFields adds the Pod of an order; nothing for an order of an account.
func podFields(f fields, pod *v1alpha1.PodSource) fields {
	if pod == nil {
		return f
	}
	return f.text("podNamespace", pod.Namespace).text("pod", pod.Name).text("serviceAccount", pod.ServiceAccountName).
		text("node", pod.NodeName).text("rule", pod.Rule).text("uri", pod.URI)
}
