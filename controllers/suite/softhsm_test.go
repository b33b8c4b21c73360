package suite

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/internal/test/softhsm"
)

func newHSM(ctx context.Context) *softhsm.HSM {
	GinkgoHelper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		if os.Getenv("ACMECA_REQUIRE_CLIENTS") != "" {
			Fail("softhsm2-util is missing")
		}
		Skip("softhsm2-util is missing")
	}
	h, err := softhsm.New(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(h.Close)
	Eventually(ctx, h.Ping).WithTimeout(patience).Should(Succeed())
	return h
}

// signRequest returns the chain of a CA certificate that an outside root signs, for the request in an issuer's status.
func signRequest(issuer *v1alpha1.AcmeIssuer, root *ca.KeyPair) []byte {
	GinkgoHelper()
	block, _ := pem.Decode([]byte(issuer.Status.External.CertificateRequest))
	Expect(block).NotTo(BeNil())
	request, err := x509.ParseCertificateRequest(block.Bytes)
	Expect(err).NotTo(HaveOccurred())
	Expect(request.CheckSignature()).To(Succeed())
	der, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: big.NewInt(42), Subject: request.Subject, NotBefore: root.Certificate.NotBefore, NotAfter: root.Certificate.NotAfter,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, root.Certificate, request.PublicKey, root.Key)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return ca.EncodeCertificates(certificate, root.Certificate)
}

var _ = Describe("SoftHSM by PKCS#11", func() {
	var h *softhsm.HSM
	BeforeEach(func(ctx SpecContext) { h = newHSM(ctx) })

	It("makes and rotates a CA, signs certificates and CRLs, and is awaited while its token is away or its program was killed", func(ctx SpecContext) {
		o := newOperatorWithKeys(ctx, h.Socket, inKeyService)
		c := o.registered(ctx)
		first := c.readyOrder(ctx, "first.test")
		c.finalize(ctx, first)
		expectIssued(ctx, first)
		revoke(ctx, first, 4, nil)
		expectRevoked(ctx, first)
		o.expectListed(ctx, first)

		By("rotating the intermediate")
		before := o.issuer(ctx).Status.IssuingCertificate.SHA256
		Expect(admin.Patch(ctx, o.issuer(ctx), client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"`+v1alpha1.RotateIntermediateAnnotation+`": "now"}}}`)))).To(Succeed())
		Eventually(ctx, func() string { return o.issuer(ctx).Status.IssuingCertificate.SHA256 }).WithTimeout(patience).ShouldNot(Equal(before))

		By("taking the token away")
		waiting := c.readyOrder(ctx, "waiting.test")
		Expect(h.Take()).To(Succeed())
		c.finalize(ctx, waiting)
		expectAwaitsKey(ctx, waiting)
		Expect(h.GiveBack()).To(Succeed())
		expectSignedLater(ctx, o, waiting)

		By("killing the program")
		h.Kill()
		again := c.readyOrder(ctx, "again.test")
		c.finalize(ctx, again)
		expectAwaitsKey(ctx, again)
		Expect(h.Start()).To(Succeed())
		expectSignedLater(ctx, o, again)
		certificate := expectIssued(ctx, again)
		Expect((&issuerWorld{clock: o.clock}).verify(chainOf(again, o.issuer(ctx)), bundleOf(o.issuer(ctx))...)).To(Succeed(), "%v", certificate.Subject)
	})

	It("signs with a CA key that a person made with pkcs11-tool, below an outside root", func(ctx SpecContext) {
		o := newOperatorWithKeys(ctx, h.Socket, inKeyService)
		Expect(h.MakeKey(ctx, o.namespace+".corp-2026")).To(Succeed())
		issuer := o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.CA = v1alpha1.CertificateAuthority{External: &v1alpha1.ExternalCA{KeyName: "corp-2026",
				Chain: &v1alpha1.ChainSource{ConfigMapRef: &v1alpha1.ObjectRef{Name: "corp-chain"}}}}
		})
		Eventually(ctx, func() *v1alpha1.ExternalStatus { return o.issuer(ctx).Status.External }).WithTimeout(patience).ShouldNot(BeNil())
		root, _ := broughtCA(o.clock.Now(), 1000*time.Hour)
		chain := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "corp-chain"}, Data: map[string]string{
			"tls.crt": string(signRequest(o.issuer(ctx), root))}}
		Expect(admin.Create(ctx, chain)).To(Succeed())
		o.touch(ctx, o.issuer(ctx))
		Eventually(ctx, func() string { return readyReason(ctx, issuer) }).WithTimeout(patience).Should(Equal(v1alpha1.ReasonReady))
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		Expect((&issuerWorld{clock: o.clock}).verify(chainOf(order, fresh(ctx, issuer)), root.Certificate)).To(Succeed())
	})
})

func chainOf(order *v1alpha1.AcmeOrder, issuer *v1alpha1.AcmeIssuer) []*x509.Certificate {
	GinkgoHelper()
	above, _ := issuer.Status.ChainOf(&order.Status)
	chain, err := ca.ParseCertificates([]byte(order.Status.Certificate + above))
	Expect(err).NotTo(HaveOccurred())
	return chain
}

// expectAwaitsKey waits until an order says that it waits for the key. It is not failed.
func expectAwaitsKey(ctx context.Context, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	Eventually(ctx, func() metav1.Condition { return conditionOf(fresh(ctx, order)) }).WithTimeout(2 * patience).Should(And(
		HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonKeyServiceUnavailable)))
	Expect(order.Status.State.Final()).To(BeFalse())
}

// expectSignedLater moves the clock on until an order that waits for the key has its certificate. It does so in few steps, since the
// order would expire otherwise.
func expectSignedLater(ctx context.Context, o *operator, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	Eventually(ctx, func() acme.State {
		o.later(ctx, 10*time.Second, order)
		return fresh(ctx, order).Status.State
	}).WithTimeout(2 * patience).WithPolling(time.Second / 4).Should(Equal(acme.StateValid))
}
