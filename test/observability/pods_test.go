package observability

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// askForPod creates an issuer for Pods, and a request of a Pod that does not exist, which is denied.
func askForPod(ctx context.Context) {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "acmeca-system", Name: "pods"},
		Spec: v1alpha1.AcmeIssuerSpec{
			CA: v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}},
			PodCertificates: &v1alpha1.PodCertificates{TrustDomain: "prod.test", Rules: []v1alpha1.PodCertificateRule{{
				Name: "mesh", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"mesh": "on"}}, SPIFFEID: true,
			}}},
		},
	}
	Expect(acmeca.Client().Create(ctx, issuer)).To(Succeed())
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, certificates.NewKey())
	Expect(err).NotTo(HaveOccurred())
	request := &certificatesv1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "acmeca-system", Name: "gone"},
		Spec: certificatesv1.PodCertificateRequestSpec{
			SignerName: v1alpha1.PodSigner("acmeca-system", "pods"), PodName: "gone", PodUID: "gone", ServiceAccountName: "default",
			ServiceAccountUID: "gone", NodeName: "node", NodeUID: "gone", StubPKCS10Request: csr,
		},
	}
	Expect(acmeca.Client().Create(ctx, request)).To(Succeed())
	Eventually(ctx, func() []metav1.Condition {
		_ = acmeca.Client().Get(ctx, kube.ObjectKeyFromObject(request), request)
		return request.Status.Conditions
	}).WithTimeout(20 * time.Second).Should(ConsistOf(HaveField("Reason", "PodMismatch")))
}
