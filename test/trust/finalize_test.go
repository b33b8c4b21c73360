package trust

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// finalization returns the spec of an order after a client has finalized it.
func finalization(request *v1alpha1.SignedRequest) map[string]any {
	return map[string]any{
		"finalization": v1alpha1.Finalization{Request: *request, Time: metav1.NewTime(time.Now().Truncate(time.Second))},
	}
}

// finalizes returns the client's finalize request, which does not arrive.
func (p *party) finalizes(ctx context.Context, order pursuit, csr []byte) *v1alpha1.SignedRequest {
	GinkgoHelper()
	return p.withheld(func() error {
		_, _, err := p.CreateOrderCert(ctx, order.client.FinalizeURL, csr, true)
		return err
	})
}

func csrPayload(csr []byte) map[string]string {
	return map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)}
}

// clientOrder returns an order in the form that its client knows.
func clientOrder(name string) *xacme.Order {
	return &xacme.Order{URI: url(acme.OrderPath(name)), FinalizeURL: url(acme.FinalizePath(name))}
}

// expectFailed checks that an order ends without a certificate, for the client and in kubectl.
func expectFailed(ctx context.Context, p *party, order pursuit, detail string) {
	GinkgoHelper()
	Eventually(ctx, func() acme.State { return refresh(ctx, order.AcmeOrder).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
	Expect(order.Status.Certificate).To(BeEmpty())
	Expect(order.Status.Problem.Detail).To(ContainSubstring(detail))
	Expect(kubectl(ctx, "get", "acmeord", order.Name)).To(And(ContainSubstring("invalid"), ContainSubstring(string(order.Status.Problem.Type))))
	_, err := p.WaitOrder(ctx, order.client.URI)
	Expect(err).To(MatchError(ContainSubstring("invalid")))
}

var _ = Describe("A captured ACME server, with a victim's order that is ready", func() {
	var victim, attacker *party
	var order pursuit
	var name string
	var stolen []byte // the attacker's CSR for the victim's name

	BeforeEach(func(ctx SpecContext) {
		victim, attacker = newParty(ctx), newParty(ctx)
		name = newName()
		order = victim.readyOrder(ctx, name)
		stolen = csr(thief, name)
	})

	DescribeTable("gets no certificate for the attacker's CSR", func(ctx SpecContext, request func(context.Context) *v1alpha1.SignedRequest, detail string) {
		Expect(writeSpec(ctx, server, order, finalization(request(ctx)))).To(Succeed())

		expectFailed(ctx, victim, order, detail)
		expectShown(ctx, "acmeorder", order, "FinalizationRefused", detail)
		_, certificate := victim.obtain(ctx, name)
		Expect(certificate.PublicKey).NotTo(Equal(thief.Public()))
	},
		Entry("without a signature", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return garbled(victim.signedAs(thief, acme.FinalizePath(order.Name), csrPayload(stolen)))
		}, "the signature does not verify"),
		Entry("signed by the attacker's account", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.FinalizePath(order.Name), csrPayload(stolen))
		}, "the request is not signed by account"),
		Entry("signed by the attacker in the victim's name", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return victim.signedAs(attacker.Key, acme.FinalizePath(order.Name), csrPayload(stolen))
		}, "the signature does not verify"),
		Entry("signed with a key in the request", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return sign(attacker.Key, jwk(attacker.Key), acme.FinalizePath(order.Name), csrPayload(stolen))
		}, "the request is not signed by account"),
		Entry("with the victim's finalization of another order", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return victim.finalizes(ctx, victim.readyOrder(ctx, newName()), stolen)
		}, "the request was signed for another URL"),
		Entry("with the victim's POST-as-GET of its order", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return victim.withheld(func() error { _, err := victim.GetOrder(ctx, order.client.URI); return err })
		}, "the request was signed for another URL"),
	)

	It("cannot have the attacker's CSR signed by storing it beside the victim's finalization, as earlier versions stored CSRs", func(ctx SpecContext) {
		key := certificates.NewKey()
		spec := finalization(victim.finalizes(ctx, order, csr(key, name)))
		spec["csr"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: stolen}))
		Expect(writeSpec(ctx, server, order, spec)).To(Succeed())
		Eventually(ctx, func() acme.State { return refresh(ctx, order.AcmeOrder).Status.State }).WithTimeout(patience).Should(Equal(acme.StateValid))
		Expect(certificates.Parse([]byte(order.Status.Certificate))[0].PublicKey).To(Equal(key.Public()))
	}, SpecTimeout(specPatience))

	It("cannot replace the victim's CSR by the attacker's", func(ctx SpecContext) {
		certificate := victim.finalize(ctx, order)

		forged := finalization(attacker.signedAs(attacker.Key, acme.FinalizePath(order.Name), csrPayload(stolen)))
		Expect(writeSpec(ctx, server, order, forged)).To(MatchError(ContainSubstring("finalization is set once")))
		Expect(writeSpec(ctx, server, order, map[string]any{"finalization": nil})).To(MatchError(ContainSubstring("finalization is set once")))

		refresh(ctx, order.AcmeOrder)
		Expect(order.Status.State).To(Equal(acme.StateValid))
		chain, err := victim.FetchCert(ctx, url(acme.CertificatePath(order.Name)), true)
		Expect(err).NotTo(HaveOccurred())
		Expect(chain[0]).To(Equal(certificate.Raw))
	}, SpecTimeout(specPatience))

	It("cannot have an order in the victim's name certified", func(ctx SpecContext) {
		planted := pursuit{&v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: order.Spec.IssuerRef, AccountRef: order.Spec.AccountRef, Identifiers: order.Spec.Identifiers, Authorizations: order.Spec.Authorizations,
		}}, nil}
		plant(ctx, planted.AcmeOrder)
		planted.client = clientOrder(planted.Name)
		request := attacker.signedAs(attacker.Key, acme.FinalizePath(planted.Name), csrPayload(stolen))
		Expect(writeSpec(ctx, server, planted, finalization(request))).To(Succeed())

		expectFailed(ctx, victim, planted, "the request is not signed by account")
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))

	It("cannot use the victim's proofs in an order of the attacker", func(ctx SpecContext) {
		planted := pursuit{&v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: order.Spec.IssuerRef, AccountRef: v1alpha1.ObjectRef{Name: attacker.account(ctx).Name},
			Identifiers: order.Spec.Identifiers, Authorizations: order.Spec.Authorizations,
		}}, nil}
		plant(ctx, planted.AcmeOrder)
		planted.client = clientOrder(planted.Name)

		expectFailed(ctx, attacker, planted, "the authorization belongs to another account")
		genuine := attacker.finalizes(ctx, planted, stolen)
		Expect(writeSpec(ctx, server, planted, finalization(genuine))).To(Succeed())
		Consistently(ctx, func() string { return refresh(ctx, planted.AcmeOrder).Status.Certificate }).Should(BeEmpty())
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))

	It("cannot use the attacker's proof of one name for the victim's", func(ctx SpecContext) {
		own := attacker.readyOrder(ctx, newName())
		planted := pursuit{&v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: own.Spec.IssuerRef, AccountRef: own.Spec.AccountRef, Identifiers: order.Spec.Identifiers, Authorizations: own.Spec.Authorizations,
		}}, nil}
		plant(ctx, planted.AcmeOrder)
		planted.client = clientOrder(planted.Name)

		expectFailed(ctx, attacker, planted, "the authorization is for")
	}, SpecTimeout(specPatience))

	It("cannot have unproved names certified beside a proved one", func(ctx SpecContext) {
		own := attacker.readyOrder(ctx, newName())
		planted := pursuit{&v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: own.Spec.IssuerRef, AccountRef: own.Spec.AccountRef,
			Identifiers: append(own.Spec.Identifiers, order.Spec.Identifiers...), Authorizations: own.Spec.Authorizations,
		}}, nil}
		plant(ctx, planted.AcmeOrder)
		planted.client = clientOrder(planted.Name)

		expectFailed(ctx, attacker, planted, "the order has 1 authorizations for 2 identifiers")
	}, SpecTimeout(specPatience))

	It("cannot have a name in the CSR certified that was not ordered", func(ctx SpecContext) {
		own := attacker.readyOrder(ctx, newName())
		both := csr(thief, own.Spec.Identifiers[0].Value, name)
		Expect(writeSpec(ctx, server, own, finalization(attacker.finalizes(ctx, own, both)))).To(Succeed())

		expectFailed(ctx, attacker, own, name)
		Expect(own.Status.Problem.Type).To(Equal(acme.BadCSR))
	}, SpecTimeout(specPatience))
})

var _ = Describe("A captured ACME server, with an order of the attacker that is pending", func() {
	It("gets no certificate before the name is proved", func(ctx SpecContext) {
		attacker := newParty(ctx)
		name := newName()
		order := attacker.order(ctx, name)
		stolen := csr(thief, name)
		Expect(writeSpec(ctx, server, order, finalization(attacker.finalizes(ctx, order, stolen)))).To(Succeed())

		Consistently(ctx, func() acme.State { return refresh(ctx, order.AcmeOrder).Status.State }).WithTimeout(2 * time.Second).Should(Equal(acme.StatePending))
		Expect(order.Status.Certificate).To(BeEmpty())
		Expect(kubectl(ctx, "get", "acmeord", order.Name)).To(ContainSubstring("pending"))
	}, SpecTimeout(specPatience))

	It("cannot date the certificate before the order or into the future", func(ctx SpecContext) {
		attacker := newParty(ctx)
		const backdate, lifetime = time.Hour, 90 * 24 * time.Hour // of the default profile
		for _, shift := range []time.Duration{-time.Hour, time.Hour} {
			name := newName()
			order := attacker.readyOrder(ctx, name)
			request := csr(certificates.NewKey(), name)
			members := finalization(attacker.finalizes(ctx, order, request))
			f := members["finalization"].(v1alpha1.Finalization)
			f.Time = metav1.NewTime(f.Time.Add(shift))
			members["finalization"] = f
			Expect(writeSpec(ctx, server, order, members)).To(Succeed())

			By(fmt.Sprintf("counting from the order's creation or from now, with a time that is %v off", shift))
			Eventually(ctx, func() acme.State { return refresh(ctx, order.AcmeOrder).Status.State }).WithTimeout(patience).Should(Equal(acme.StateValid))
			created, now := order.CreationTimestamp.Time, time.Now()
			Expect(order.Status.NotBefore.Time).To(And(BeTemporally(">=", created.Add(-backdate)), BeTemporally("<=", now)))
			Expect(order.Status.NotAfter.Time).To(And(
				BeTemporally(">=", created.Add(lifetime-backdate-time.Second)), BeTemporally("<=", now.Add(lifetime-backdate)),
			))
		}
	}, SpecTimeout(specPatience))

	DescribeTable("gets a certificate for a request that was signed for an order's name only if the name says when the order was created", func(ctx SpecContext, age time.Duration, issued bool) {
		victim := newParty(ctx)
		own := victim.readyOrder(ctx, newName())
		again := pursuit{&v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: own.Spec.IssuerRef, AccountRef: own.Spec.AccountRef, Identifiers: own.Spec.Identifiers, Authorizations: own.Spec.Authorizations,
		}}, nil}
		again.Name = v1alpha1.NewObjectName(time.Now().Add(-age))
		again.client = clientOrder(again.Name)
		request := csr(certificates.NewKey(), own.Spec.Identifiers[0].Value)
		stored := finalization(victim.finalizes(ctx, again, request))

		By("creating the order again under its name, with the request that the client signed for it once")
		f := stored["finalization"].(v1alpha1.Finalization)
		again.Spec.Finalization = &f
		plant(ctx, again.AcmeOrder)
		if !issued {
			expectFailed(ctx, victim, again, "the order was not created at the time in its name")
			return
		}
		Eventually(ctx, func() acme.State { return refresh(ctx, again.AcmeOrder).Status.State }).WithTimeout(patience).Should(Equal(acme.StateValid))
	},
		Entry("created now, as a control", SpecTimeout(specPatience), time.Duration(0), true),
		Entry("created long ago", SpecTimeout(specPatience), 11*time.Minute, false),
		Entry("to be created later", SpecTimeout(specPatience), -11*time.Minute, false),
	)

	It("cannot have one certified at an issuer that does not exist", func(ctx SpecContext) {
		attacker := newParty(ctx)
		own := attacker.readyOrder(ctx, newName())
		planted := pursuit{&v1alpha1.AcmeOrder{Spec: *own.Spec.DeepCopy()}, nil}
		planted.Spec.IssuerRef.Name = "nobody"
		plant(ctx, planted.AcmeOrder)
		Eventually(ctx, func() acme.State { return refresh(ctx, planted.AcmeOrder).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
		expectShown(ctx, "acmeorder", planted, `the issuer "nobody" was deleted`)
	}, SpecTimeout(specPatience))
})
