package suite

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuer"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/serversecrets"
	server "github.com/acmeca/acmeca/internal/keyservice"
	testservice "github.com/acmeca/acmeca/internal/test/keyservice"
)

func newKeyService() *testservice.Service {
	GinkgoHelper()
	service, err := testservice.New()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(service.Close)
	return service
}

// useKeyService gives the world's controllers a key service.
func (w *issuerWorld) useKeyService(service *testservice.Service) {
	GinkgoHelper()
	var err error
	w.keys, err = keyservice.New(keyservice.Config{Socket: service.Socket, Clock: w.clock})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.keys.Close)
	w.restart()
}

func inKeyService(spec *v1alpha1.AcmeIssuerSpec) {
	spec.CA.SelfSigned.KeyStore = v1alpha1.KeyStoreKeyService
}

var _ = Describe("A CA that the operator makes with keys in a key service", func() {
	var w *crlWorld
	var service *testservice.Service
	BeforeEach(func(ctx SpecContext) {
		service = newKeyService()
		w = newCRLWorld(ctx)
	})

	// moved makes the CA again, in the key service.
	moved := func(ctx SpecContext) *v1alpha1.AcmeIssuer {
		GinkgoHelper()
		w.delete(ctx)
		for _, name := range []string{"ca-root", "ca-intermediate"} {
			Expect(admin.Delete(ctx, w.secret(ctx, name))).To(Succeed())
		}
		w.useKeyService(service)
		spec := selfSigned(v1alpha1.SelfSignedCA{RootLifetime: hours(24000), IntermediateLifetime: hours(2400), RootOverlap: ptr.To(hours(1))})
		spec.CRL = v1alpha1.CRL{Lifetime: metav1.Duration{Duration: crlLifetime}}
		inKeyService(&spec)
		w.create(ctx, spec)
		return w.settle(ctx)
	}

	It("has no private key in the cluster, and signs certificates and all CRLs", func(ctx SpecContext) {
		ready := moved(ctx)
		Expect(readyOf(ready)).To(HaveField("Reason", v1alpha1.ReasonReady))
		for _, name := range []string{"ca-root", "ca-intermediate"} {
			Expect(string(w.secret(ctx, name).Data[corev1.TLSPrivateKeyKey])).To(HavePrefix("acmeca-key-service:" + name + "."))
		}
		keys, err := service.Backend.Keys(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(keys).To(HaveLen(2))
		Expect(w.verify(w.issue("a.test"), bundleOf(ready)...)).To(Succeed())
		w.crlBy(ctx, w.loaded().Authority.Certificate())
		w.crlBy(ctx, w.loaded().Roots[0].Certificate)
	})

	It("rotates intermediate and root, with a cross-certificate, and old keys go on signing CRLs", func(ctx SpecContext) {
		first := bundleOf(moved(ctx))
		old := w.loaded().Authority.Certificate()
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "1")
		w.settle(ctx)
		Expect(w.loaded().Authority.Certificate().Equal(old)).To(BeFalse())
		w.crlBy(ctx, old)

		w.annotate(ctx, v1alpha1.RotateRootAnnotation, "1")
		w.settle(ctx)
		w.clock.Step(2 * time.Hour)
		both := bundleOf(w.settle(ctx))
		Expect(both).To(HaveLen(2))
		chain := w.issue("a.test")
		Expect(w.verify(chain, both[0])).To(Succeed())
		Expect(w.verify(chain, first...)).To(Succeed(), "by the cross-certificate")
		for _, root := range both {
			w.crlBy(ctx, root)
		}
		keys, err := service.Backend.Keys(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(keys).To(HaveLen(5), "two roots, three intermediates: a repeated step makes no further key")
	})

	It("makes no further key when the controller dies while it makes the CA", func(ctx SpecContext) {
		w.delete(ctx)
		for _, name := range []string{"ca-root", "ca-intermediate"} {
			Expect(admin.Delete(ctx, w.secret(ctx, name))).To(Succeed())
		}
		w.useKeyService(service)
		spec := selfSigned(v1alpha1.SelfSignedCA{})
		inKeyService(&spec)
		w.create(ctx, spec)
		for died := true; died; {
			w.faults.from(1)
			_ = w.try(ctx)
			w.faults.none()
			w.restart()
			died = w.try(ctx) != nil
		}
		keys, err := service.Backend.Keys(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(keys).To(HaveLen(2))
	})

	It("goes on after a restart of the controllers while the service is gone, and says so after a while", func(ctx SpecContext) {
		moved(ctx)
		service.Stop()
		w.restart()
		Expect(readyOf(w.reconcile(ctx))).To(HaveField("Reason", v1alpha1.ReasonReady))
		w.clock.Step(issuer.KeyServiceGrace)
		gone := readyOf(w.reconcile(ctx))
		Expect(gone.Status).To(Equal(metav1.ConditionFalse))
		Expect(gone).To(And(HaveField("Reason", v1alpha1.ReasonKeyServiceUnavailable), HaveField("Message", ContainSubstring("orders wait for the CA's key"))))
		Expect(w.canIssue()).To(BeFalse())
		Expect(w.loaded().Authority).NotTo(BeNil())
		Expect(service.Start()).To(Succeed())
		Eventually(ctx, func() string {
			w.clock.Step(time.Minute)
			return readyOf(w.reconcile(ctx)).Reason
		}).WithTimeout(patience).Should(Equal(v1alpha1.ReasonReady))
	})

	It("signs the ACME server's certificate, or the next one once the service is back", func(ctx SpecContext) {
		moved(ctx)
		w.reconciler.DefaultIssuer = w.key()
		w.reconciler.ServerTLS = &serversecrets.TLSCertificate{
			Client: w.faults.client(), Secret: client.ObjectKey{Namespace: w.namespace, Name: "server-tls"}, Clock: w.clock,
		}
		issuer := w.reconcile(ctx)
		first := w.secret(ctx, "server-tls").Data[corev1.TLSCertKey]
		chain, err := ca.ParseCertificates(first)
		Expect(err).NotTo(HaveOccurred())
		Expect(w.verify(chain, bundleOf(issuer)...)).To(Succeed())

		service.Fail(server.ErrUnavailable)
		Expect(admin.Delete(ctx, w.secret(ctx, "server-tls"))).To(Succeed())
		Expect(readyOf(w.reconcile(ctx)).Message).To(ContainSubstring("the ACME server's TLS certificate can't be made: sign: the key service"))
		service.Fail(nil)
		w.clock.Step(time.Minute)
		w.reconcile(ctx)
		Expect(w.secret(ctx, "server-tls").Data[corev1.TLSCertKey]).NotTo(Equal(first))
	})

	It("isn't used once the service has another key under its name", func(ctx SpecContext) {
		moved(ctx)
		authority := w.loaded().Authority
		service.Replace(authority.Key().(*keyservice.Signer).Name(), newSigner().Public())
		Expect(readyOf(w.reconcile(ctx))).To(And(HaveField("Reason", v1alpha1.ReasonKeyServiceUnavailable), HaveField("Message", ContainSubstring("another public key"))))
		Expect(w.canIssue()).To(BeFalse())
	})

	It("retries the CRL soon while the service can't sign, and keeps the last one", func(ctx SpecContext) {
		moved(ctx)
		authority := w.loaded().Authority.Certificate()
		before := w.crlBy(ctx, authority)
		service.Fail(server.ErrUnavailable)
		w.clock.Step(crlLifetime / 2)
		result, err := w.lists.Reconcile(ctx, w.crlOf(w.loaded().Authority).Complete())
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(BeNumerically("<=", 5*time.Second))
		Expect(readyOf(w.reconcile(ctx))).To(HaveField("Message", ContainSubstring("the next CRL waits for the CA's key")))
		Expect(w.crlBy(ctx, authority).Number).To(Equal(before.Number))
		service.Fail(nil)
		w.clock.Step(time.Minute)
		w.lookAll(ctx)
		Expect(w.crlBy(ctx, authority).Number.Cmp(before.Number)).To(Equal(1))
	})
})

var _ = Describe("A CA whose key is in a key service, and whose certificate another CA signs", func() {
	var w *issuerWorld
	var service *testservice.Service
	external := &v1alpha1.ExternalCA{KeyName: "corp-2026", CommonName: "Corp Issuing",
		Chain: &v1alpha1.ChainSource{ConfigMapRef: &v1alpha1.ObjectRef{Name: "corp-chain"}}}
	BeforeEach(func(ctx SpecContext) {
		service = newKeyService()
		w = newIssuerWorld(ctx, v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{External: external}})
		w.useKeyService(service)
	})

	makeKey := func(ctx context.Context, name string) {
		GinkgoHelper()
		_, err := w.keys.Generate(ctx, w.namespace+"."+name, 4)
		Expect(err).NotTo(HaveOccurred())
	}
	provide := func(ctx context.Context, chain []byte) {
		GinkgoHelper()
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "corp-chain"}, Data: map[string]string{"tls.crt": string(chain)}}
		Expect(admin.Create(ctx, configMap)).To(Succeed())
	}

	It("waits for its key, shows a request, waits for the chain, and issues", func(ctx SpecContext) {
		Expect(readyOf(w.reconcile(ctx))).To(And(HaveField("Reason", v1alpha1.ReasonKeyServiceUnavailable), HaveField("Message", ContainSubstring("there is no key"))))
		makeKey(ctx, "corp-2026")
		waiting := w.reconcile(ctx)
		Expect(readyOf(waiting)).To(And(HaveField("Reason", v1alpha1.ReasonCAUnavailable), HaveField("Message", ContainSubstring(`the ConfigMap "corp-chain"`))))
		request := waiting.Status.External.CertificateRequest
		Expect(w.reconcile(ctx).Status.External.CertificateRequest).To(Equal(request), "signed once")

		root, _ := broughtCA(w.clock.Now(), 1000*time.Hour)
		provide(ctx, signRequest(waiting, root))
		ready := w.reconcile(ctx)
		Expect(readyOf(ready).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.verify(w.issue("a.test"), root.Certificate)).To(Succeed())

		// The chain pins the key: controllers that start while the service is gone still load the CA.
		service.Stop()
		w.restart()
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
	})

	It("pins the key with the request, and refuses another one under its name", func(ctx SpecContext) {
		makeKey(ctx, "corp-2026")
		pinned := w.reconcile(ctx).Status.External
		service.Replace(w.namespace+".corp-2026", newSigner().Public())
		refused := w.reconcile(ctx)
		Expect(readyOf(refused).Message).To(ContainSubstring("another public key"))
		Expect(refused.Status.External).To(Equal(pinned))
	})

	It("refuses a chain for another key", func(ctx SpecContext) {
		makeKey(ctx, "corp-2026")
		w.reconcile(ctx)
		root, intermediate := broughtCA(w.clock.Now(), 1000*time.Hour)
		provide(ctx, ca.EncodeCertificates(intermediate.Certificate, root.Certificate))
		Expect(readyOf(w.reconcile(ctx)).Message).To(ContainSubstring("for another key"))
		Expect(w.canIssue()).To(BeFalse())
	})

	It("can't use a key of another namespace", func(ctx SpecContext) {
		_, err := w.keys.Generate(ctx, "other-namespace.corp-2026", 4)
		Expect(err).NotTo(HaveOccurred())
		Expect(readyOf(w.reconcile(ctx)).Message).To(ContainSubstring(`there is no key "` + w.namespace + `.corp-2026"`))
	})
})

var _ = Describe("Orders whose CA key is in a key service", func() {
	var service *testservice.Service
	var o *operator
	BeforeEach(func(ctx SpecContext) {
		service = newKeyService()
		o = newOperatorWithKeys(ctx, service.Socket, inKeyService)
	})

	It("wait while the service is gone, and get their certificates when it is back", func(ctx SpecContext) {
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		service.Stop()
		c.finalize(ctx, order)
		expectAwaitsKey(ctx, order)
		Expect(service.Start()).To(Succeed())
		expectSignedLater(ctx, o, order)
		expectIssued(ctx, order)
	})

	It("wait while the service stalls", func(ctx SpecContext) {
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		service.Stall()
		c.finalize(ctx, order)
		expectAwaitsKey(ctx, order)
		service.Resume()
		expectSignedLater(ctx, o, order)
	})

	It("wait while the service lies, and no wrong signature is stored", func(ctx SpecContext) {
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		service.Lie(func(signature []byte) []byte { signature[len(signature)-1] ^= 1; return signature })
		c.finalize(ctx, order)
		expectAwaitsKey(ctx, order)
		Expect(conditionOf(order).Message).To(ContainSubstring("does not verify"))
		Expect(o.certificates(order)).To(BeEmpty())
		service.Lie(nil)
		expectSignedLater(ctx, o, order)
	})

	It("have one certificate when the controller dies between signing and writing, though it signs again", func(ctx SpecContext) {
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		o.fail(true)
		c.finalize(ctx, order)
		Eventually(ctx, func() []string { return o.certificates(order) }).WithTimeout(patience).ShouldNot(BeEmpty())
		o.stop()
		lost := o.certificates(order)[0]
		Expect(fresh(ctx, order).Status.Certificate).To(BeEmpty(), "what isn't written isn't handed out")
		o.fail(false)
		o.start()
		expectSignedLater(ctx, o, order) // a busy machine may begin with a failed call, and so with a pause
		certificate := expectIssued(ctx, order)
		Expect(order.Status.Certificate).NotTo(Equal(lost), "the signature is another one")
		former, err := ca.ParseCertificates([]byte(lost))
		Expect(err).NotTo(HaveOccurred())
		Expect(former[0].RawTBSCertificate).To(Equal(certificate.RawTBSCertificate), "all that is signed is the same, with the serial number")
	})

	It("have one certificate where two controllers are at it, though both sign", func(ctx SpecContext) {
		one := o.stop
		o.start() // beside the other one
		c := o.registered(ctx)
		var orders []*v1alpha1.AcmeOrder
		for _, name := range []string{"a.test", "b.test", "c.test", "d.test"} {
			orders = append(orders, c.readyOrder(ctx, name))
		}
		for _, order := range orders {
			c.finalize(ctx, order)
		}
		for _, order := range orders {
			expectSignedLater(ctx, o, order)
			expectIssued(ctx, order)
			issued := order.Status.Certificate
			o.later(ctx, time.Minute, order)
			Consistently(ctx, func() string { return fresh(ctx, order).Status.Certificate }).WithTimeout(time.Second / 2).Should(Equal(issued))
			Expect(o.certificates(order)).To(ContainElement(issued))
		}
		one()
	})

	It("are revoked in a CRL that the service signs", func(ctx SpecContext) {
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		revoke(ctx, order, 4, nil)
		expectRevoked(ctx, order)
		o.expectListed(ctx, order)
	})
})
