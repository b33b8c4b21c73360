package conformance

import (
	"fmt"
	"net/http"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var issuersMade atomic.Int32

// issuerLike creates an issuer like the default one with an edit, and waits until it can issue.
func issuerLike(ctx SpecContext, edit func(*v1alpha1.AcmeIssuerSpec)) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	original := &v1alpha1.AcmeIssuer{}
	Expect(kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: "default"}, original)).To(Succeed())
	issuer := &v1alpha1.AcmeIssuer{Spec: original.Spec}
	issuer.Namespace, issuer.Name = original.Namespace, fmt.Sprintf("conformance-%d", issuersMade.Add(1))
	edit(&issuer.Spec)
	Expect(kube.Create(ctx, issuer)).To(Succeed())
	waitForIssuer(ctx, issuer)
	return issuer
}

// changeIssuer edits an issuer, and waits until the controllers have observed the change.
func changeIssuer(ctx SpecContext, issuer *v1alpha1.AcmeIssuer, edit func(*v1alpha1.AcmeIssuerSpec)) {
	GinkgoHelper()
	before := issuer.DeepCopy()
	edit(&issuer.Spec)
	Expect(kube.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
	waitForIssuer(ctx, issuer)
}

func waitForIssuer(ctx SpecContext, issuer *v1alpha1.AcmeIssuer) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
		g.Expect(issuer.Status.ObservedGeneration).To(Equal(issuer.Generation))
	}, "30s", "20ms").Should(Succeed())
	waitForServer(ctx, issuer.Namespace)
}

// waitForServer waits until the ACME server has seen all earlier writes to issuers. Changes are watched in order, so
// a server that knows a new marker issuer has seen them.
func waitForServer(ctx SpecContext, namespace string) {
	GinkgoHelper()
	marker := &v1alpha1.AcmeIssuer{Spec: v1alpha1.AcmeIssuerSpec{
		CA: v1alpha1.CertificateAuthority{SecretRef: &v1alpha1.ObjectRef{Name: "none"}},
	}}
	marker.Namespace, marker.Name = namespace, fmt.Sprintf("marker-%d", issuersMade.Add(1))
	Expect(kube.Create(ctx, marker)).To(Succeed())
	defer func() { Expect(kube.Delete(ctx, marker)).To(Succeed()) }()
	w := newWire().at(marker)
	Eventually(func() int { return w.get("directory").StatusCode }, "10s", "10ms").Should(Equal(http.StatusServiceUnavailable))
}

// at returns a client for another issuer.
func (w *wire) at(issuer *v1alpha1.AcmeIssuer) *wire {
	return &wire{http: w.http, base: running.BaseURL() + "/" + issuer.Namespace + "/" + issuer.Name + "/acme/"}
}

// newAccountAt is newAccountKey for an issuer.
func newAccountAt(issuer *v1alpha1.AcmeIssuer) *account {
	GinkgoHelper()
	a := newAccountKey("ES256")
	a.wire = a.wire.at(issuer)
	return a
}
