package conformance

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// breakIssuer edits an issuer so that it cannot issue, and waits until both halves know.
func breakIssuer(ctx SpecContext, issuer *v1alpha1.AcmeIssuer, a *account, edit func(*v1alpha1.AcmeIssuerSpec)) {
	GinkgoHelper()
	before := issuer.DeepCopy()
	edit(&issuer.Spec)
	Expect(kube.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
	Eventually(func() int {
		return a.post(a.base+"new-order", map[string]any{"identifiers": names("new.test")}).StatusCode
	}, "20s").Should(Equal(http.StatusServiceUnavailable))
	Eventually(func() bool {
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		return issuer.Status.ObservedGeneration == issuer.Generation
	}, "20s").Should(BeTrue())
}

var _ = Describe("An issuer that can't issue", func() {
	var issuer *v1alpha1.AcmeIssuer
	var a *account
	var pending, running *order
	BeforeEach(func(ctx SpecContext) {
		issuer = issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		a = newAccountAt(issuer)
		Expect(a.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		pending, running = a.newOrder("pending.test"), a.ready("running.test")
	})

	// finalizeBehind simulates a finalize request that arrived just before the issuer failed.
	finalizeBehind := func(ctx SpecContext, o *order, name string) {
		GinkgoHelper()
		der, err := base64.RawURLEncoding.DecodeString(csr(jwstest.NewKey(GinkgoTB(), "ES256"), name))
		Expect(err).NotTo(HaveOccurred())
		var request v1alpha1.SignedRequest
		Expect(json.Unmarshal(jwstest.Sign(GinkgoTB(), a.key, a.header(o.finalize), map[string]string{"csr": base64.RawURLEncoding.EncodeToString(der)}), &request)).To(Succeed())
		object := &v1alpha1.AcmeOrder{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: path.Base(o.url)}, object)).To(Succeed())
		before := object.DeepCopy()
		object.Spec.Finalization = &v1alpha1.Finalization{Request: request, Time: metav1.NewTime(time.Now().Truncate(time.Second))}
		Expect(kube.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
	}

	DescribeTable("reports its failure, and continues afterwards", func(ctx SpecContext, edit func(*v1alpha1.AcmeIssuerSpec), why string) {
		good := issuer.Spec.DeepCopy()
		breakIssuer(ctx, issuer, a, edit)
		finalizeBehind(ctx, running, "running.test")
		for _, r := range []*reply{
			a.post(a.base+"new-order", map[string]any{"identifiers": names("new.test")}),
			a.post(a.challenge(pending.authorize[0], "http-01")["url"].(string), map[string]any{}),
			a.post(running.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "running.test")}),
			a.post(running.url, nil),
		} {
			expectProblem(r, http.StatusServiceUnavailable, acme.ServerInternal)
			Expect(r.json()["detail"]).To(ContainSubstring(why))
			Expect(r.Header.Get("Retry-After")).NotTo(BeEmpty())
		}
		Expect(a.post(pending.url, nil).json()).To(HaveKeyWithValue("status", "pending"), "existing objects can be read")

		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { *spec = *good })
		Eventually(func() any { return a.post(running.url, nil).json()["status"] }, "20s").Should(Equal("valid"))
		a.prove(pending.authorize[0])
	},
		Entry("with an invalid spec", func(spec *v1alpha1.AcmeIssuerSpec) { spec.DefaultProfile = "gone" }, "spec.defaultProfile"),
		Entry("without a reachable DNS server", func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.Resolvers = []string{"::::"} }, "spec.validation"),
		Entry("while suspended", func(spec *v1alpha1.AcmeIssuerSpec) { spec.Suspend = true }, "is suspended"),
	)

	It("answers 404 once it is deleted, and its orders name the reason", func(ctx SpecContext) {
		Expect(kube.Delete(ctx, issuer)).To(Succeed())
		for _, o := range []*order{pending, running} {
			Eventually(func() int { return a.wire.do(http.MethodGet, a.base+"directory", "", nil).StatusCode }, "20s").Should(Equal(http.StatusNotFound))
			object := &v1alpha1.AcmeOrder{}
			Eventually(func() acme.State {
				Expect(kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: path.Base(o.url)}, object)).To(Succeed())
				return object.Status.State
			}, "20s").Should(Equal(acme.StateInvalid))
			Expect(object.Status.Problem.Detail).To(ContainSubstring("was deleted"))
		}
		r := a.wire.do(http.MethodPost, running.url, "application/jose+json", []byte("{}"))
		Expect(r.StatusCode).To(Equal(http.StatusNotFound))
		Expect(r.Header.Get("Content-Type")).To(Equal("application/problem+json"))
	})
})
