package suite

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

var _ = Describe("An order", func() {
	It("gets a certificate for exactly its names and the CSR's key, below the issuer's root", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test", "b.test")
		key := newSigner()
		c.finalizeWith(ctx, order, newCSR(key, "b.test", "a.test"))
		certificate := expectIssued(ctx, order)
		Expect(certificate.DNSNames).To(ConsistOf("a.test", "b.test"))
		Expect(certificate.PublicKey).To(Equal(key.Public()))
		Expect(order.Status.Serial).To(Equal(fmt.Sprintf("%x", certificate.SerialNumber)))
		Expect(order.Status.NotBefore.Time).To(BeTemporally("==", certificate.NotBefore))
		Expect(order.Status.NotAfter.Time).To(BeTemporally("==", certificate.NotAfter))
		Expect(conditionOf(order)).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonIssued)))
		above, known := o.issuer(ctx).Status.ChainOf(&order.Status)
		Expect(known).To(BeTrue())
		chain, err := ca.ParseCertificates([]byte(order.Status.Certificate + above))
		Expect(err).NotTo(HaveOccurred())
		Expect((&issuerWorld{clock: o.clock}).verify(chain, bundleOf(o.issuer(ctx))...)).To(Succeed())
		Expect(o.events(ctx, order)).To(BeEmpty(), "no Event for a success")
	})

	It("is shown as ready when its client leaves it at that", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		o.later(ctx, time.Minute, order) // the order's own time is the API server's, which goes on
		Eventually(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(patience).Should(Equal(acme.StateReady))
		Expect(conditionOf(order)).To(HaveField("Reason", v1alpha1.ReasonAuthorized))
		Expect(order.Status.Expires.Time).To(BeTemporally("~", order.CreationTimestamp.Add(168*time.Hour), time.Second))
		c.finalize(ctx, order)
		expectIssued(ctx, order)
	})

	It("waits for every name to be proved, and goes on as soon as that is so", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		proved, pending := o.prove(ctx, c.authorize(ctx, "a.test")), c.authorize(ctx, "b.test")
		order := c.order(ctx, proved, pending)
		c.finalize(ctx, order)
		Consistently(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(time.Second).Should(Equal(acme.StatePending))
		o.prove(ctx, pending)
		expectIssued(ctx, order)
	})

	It("waits a while for an authorization that isn't there yet, and not for ever", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		absent := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}}}
		absent.Name = "absent"
		order := c.order(ctx, absent)
		Consistently(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(time.Second).Should(Equal(acme.StatePending))
		o.later(ctx, time.Minute, order)
		Expect(expectFailed(ctx, order).Detail).To(Equal("the authorization absent does not exist"))
	})

	It("waits for an authorization of its own until the client chooses a challenge, which makes it", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		own := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: c.account.Name}, Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"},
		}}
		order := c.orderOfItsOwn(ctx, own)
		o.later(ctx, time.Minute, order)
		Consistently(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(time.Second).Should(Equal(acme.StatePending))
		own.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("t", 43)}}
		Expect(admin.Create(ctx, own)).To(Succeed())
		o.prove(ctx, own)
		c.finalize(ctx, order)
		expectIssued(ctx, order)
	})

	It("fails where it is finalized without an authorization of its own", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.orderOfItsOwn(ctx, &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}}})
		c.finalize(ctx, order)
		Consistently(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(time.Second).Should(Equal(acme.StatePending))
		o.later(ctx, time.Minute, order)
		Expect(expectFailed(ctx, order).Detail).To(Equal("the authorization " + order.Name + "-0 does not exist"))
	})

	It("fails with what went wrong with its name", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := c.authorize(ctx, "a.test")
		order := c.order(ctx, authz)
		authz.Status.State = acme.StateInvalid
		authz.Status.Problem = &v1alpha1.Problem{Type: acme.Connection, Detail: "connection refused", Status: 400}
		Expect(admin.Status().Update(ctx, authz)).To(Succeed())
		Expect(*expectFailed(ctx, order)).To(Equal(v1alpha1.Problem{
			Type: acme.Connection, Detail: "connection refused", Status: 403, Identifier: &v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"},
		}))
		Expect(conditionOf(order)).To(HaveField("Reason", "Connection"))
	})

	It("fails with a subproblem for each name that went wrong", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		var authorizations []*v1alpha1.AcmeAuthorization
		for _, name := range []string{"a.test", "b.test", "c.test"} {
			authorizations = append(authorizations, c.authorize(ctx, name))
		}
		o.prove(ctx, authorizations[1])
		for _, i := range []int{0, 2} {
			authorizations[i].Status.State = acme.StateInvalid
			authorizations[i].Status.Problem = &v1alpha1.Problem{Type: acme.DNSProblem, Detail: "no such name"}
			Expect(admin.Status().Update(ctx, authorizations[i])).To(Succeed())
		}
		o.restart() // so that both are known before the order is
		problem := expectFailed(ctx, c.order(ctx, authorizations...))
		Expect(problem.Type).To(Equal(acme.Compound))
		Expect(problem.Detail).To(Equal("2 of 3 identifiers were not authorized"))
		Expect(problem.Subproblems).To(HaveLen(2))
		Expect(problem.Subproblems[0].Identifier.Value).To(Equal("a.test"))
		Expect(problem.Subproblems[1].Identifier.Value).To(Equal("c.test"))
	})

	DescribeTable("fails where its authorization is", func(ctx SpecContext, state acme.State, detail string) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := o.prove(ctx, c.authorize(ctx, "a.test"))
		order := c.order(ctx, authz)
		authz.Status.State = state
		Expect(admin.Status().Update(ctx, authz)).To(Succeed())
		c.finalize(ctx, order)
		Expect(expectFailed(ctx, order).Detail).To(Equal(detail))
	},
		Entry("deactivated", acme.StateDeactivated, "the authorization is deactivated"),
		Entry("expired", acme.StateExpired, "the authorization is expired"),
		Entry("revoked", acme.StateRevoked, "the authorization is revoked"),
	)

	It("doesn't count an expired authorization, even if its state is still valid", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := o.prove(ctx, c.authorize(ctx, "a.test"))
		o.clock.Step(time.Hour)
		order := c.order(ctx, authz)
		c.finalize(ctx, order)
		Expect(expectFailed(ctx, order).Detail).To(Or(Equal("the authorization has expired"), Equal("the authorization is expired")))
	})

	It("doesn't count an authorization without an end", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := c.authorize(ctx, "a.test")
		authz.Status.State = acme.StateValid
		Expect(admin.Status().Update(ctx, authz)).To(Succeed())
		order := c.order(ctx, authz)
		c.finalize(ctx, order)
		Expect(expectFailed(ctx, order).Type).To(Equal(acme.Unauthorized))
	})

	It("expires", func(ctx SpecContext) {
		o := newOperator(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Lifetimes.Order.Duration = time.Hour })
		c := o.registered(ctx)
		pending, ready := c.order(ctx, c.authorize(ctx, "a.test")), c.readyOrder(ctx, "b.test")
		o.later(ctx, time.Hour+time.Second, pending, ready)
		for _, order := range []*v1alpha1.AcmeOrder{pending, ready} {
			Expect(expectFailed(ctx, order)).To(And(HaveField("Type", acme.Malformed), HaveField("Detail", ContainSubstring("was not finished before it expired"))))
		}
	})

	DescribeTable("isn't issued for a CSR that won't do, and says why", func(ctx SpecContext, csr func(*acmeClient) []byte, kind acme.ProblemType, detail string) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalizeWith(ctx, order, csr(c))
		Expect(expectFailed(ctx, order)).To(And(HaveField("Type", kind), HaveField("Detail", ContainSubstring(detail))))
	},
		Entry("no CSR", func(*acmeClient) []byte { return []byte("no CSR") }, acme.BadCSR, ""),
		Entry("another name", func(*acmeClient) []byte { return newCSR(newSigner(), "b.test") }, acme.BadCSR, ""),
		Entry("one name too many", func(*acmeClient) []byte { return newCSR(newSigner(), "a.test", "b.test") }, acme.BadCSR, "b.test"),
		Entry("the account's own key", func(c *acmeClient) []byte { return newCSR(c.key, "a.test") }, acme.BadCSR, "key"),
	)

	DescribeTable("isn't issued on a finalize request that its client didn't make", func(ctx SpecContext, request func(c *acmeClient, order *v1alpha1.AcmeOrder, csr string) *v1alpha1.SignedRequest, words string) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		csr := newCSR(newSigner(), "a.test")
		before := order.DeepCopy()
		order.Spec.Finalization = &v1alpha1.Finalization{Time: metav1.NewTime(o.clock.Now()), Request: *request(c, order, base64.RawURLEncoding.EncodeToString(csr))}
		Expect(admin.Patch(ctx, order, client.MergeFrom(before))).To(Succeed())
		Expect(expectFailed(ctx, order).Detail).To(ContainSubstring(words))
		Eventually(ctx, func() []string { return o.events(ctx, order) }).WithTimeout(patience).Should(ContainElement(And(HavePrefix("FinalizationRefused"), ContainSubstring(words))))
	},
		Entry("but somebody with another key", func(c *acmeClient, order *v1alpha1.AcmeOrder, csr string) *v1alpha1.SignedRequest {
			other := &acmeClient{operator: c.operator, key: newSigner(), account: c.account}
			return other.sign(acme.FinalizePath(order.Name), map[string]string{"csr": csr})
		}, "the signature does not verify"),
		Entry("for this order", func(c *acmeClient, _ *v1alpha1.AcmeOrder, csr string) *v1alpha1.SignedRequest {
			return c.sign(acme.FinalizePath("another"), map[string]string{"csr": csr})
		}, "the request was signed for another URL"),
		Entry("with a CSR", func(c *acmeClient, order *v1alpha1.AcmeOrder, _ string) *v1alpha1.SignedRequest {
			return c.sign(acme.FinalizePath(order.Name), struct{}{})
		}, `"csr" is missing`),
	)

	DescribeTable("is valid from its creation or from now, less backdating, where its finalization was at another time", func(ctx SpecContext, shift time.Duration) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		o.clock.Step(10 * time.Minute)
		at := o.clock.Now()
		o.clock.SetTime(at.Add(shift)) // of the ACME server
		before := order.DeepCopy()
		csr := newCSR(newSigner(), "a.test")
		order.Spec.Finalization = &v1alpha1.Finalization{
			Request: *c.sign(acme.FinalizePath(order.Name), map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)}), Time: metav1.NewTime(o.clock.Now()),
		}
		o.clock.SetTime(at)
		Expect(admin.Patch(ctx, order, client.MergeFrom(before))).To(Succeed())
		from := at
		if shift < 0 {
			from = order.CreationTimestamp.Time
		}
		certificate := expectIssued(ctx, order)
		Expect(certificate.NotAfter).To(BeTemporally("==", from.Add(90*24*time.Hour-time.Hour-time.Second)))
		Expect(certificate.NotBefore).To(And(BeTemporally(">=", from.Add(-time.Hour)), BeTemporally("<=", from)))
	},
		Entry("before the order", -time.Hour), Entry("in the future", 2*time.Minute),
	)

	DescribeTable("isn't issued where its name doesn't say when it was created", func(ctx SpecContext, name string) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.orderNamed(ctx, name, c.prove(ctx, c.authorize(ctx, "a.test")))
		Expect(expectFailed(ctx, order)).To(And(HaveField("Type", acme.ServerInternal), HaveField("Detail", ContainSubstring("was not created at the time in its name"))))
	},
		Entry("but another time before", v1alpha1.NewObjectName(time.Now().Add(-time.Hour))),
		Entry("but another time after", v1alpha1.NewObjectName(time.Now().Add(time.Hour))),
		Entry("but nothing of the kind", "planted"),
	)

	It("gets the validity that its client asked for, or none", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		ask := func(notAfter time.Time) *v1alpha1.AcmeOrder {
			authz := o.prove(ctx, c.authorize(ctx, "a.test"))
			end := metav1.NewTime(notAfter)
			order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
				IssuerRef: authz.Spec.IssuerRef, AccountRef: authz.Spec.AccountRef, NotAfter: &end,
				Identifiers: []v1alpha1.Identifier{authz.Spec.Identifier}, Authorizations: []string{authz.Name},
			}}
			order.Namespace, order.Name = o.namespace, newName()
			Expect(admin.Create(ctx, order)).To(Succeed())
			c.finalize(ctx, order)
			return order
		}
		asked := o.clock.Now().Add(24 * time.Hour)
		Expect(expectIssued(ctx, ask(asked)).NotAfter).To(BeTemporally("==", asked))
		Expect(expectFailed(ctx, ask(o.clock.Now().Add(91*24*time.Hour))).Type).To(Equal(acme.Malformed))
	})

	It("that is deleted goes at once, unless the CRL has yet to list its certificate", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		order.Finalizers = []string{v1alpha1.RevocationFinalizer}
		Expect(admin.Update(ctx, order)).To(Succeed())
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		Expect(admin.Delete(ctx, order)).To(Succeed())
		Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(order), order)) }).WithTimeout(patience).Should(BeTrue())

		revoked := c.readyOrder(ctx, "b.test")
		c.finalize(ctx, revoked)
		expectIssued(ctx, revoked)
		o.deleteIssuer(ctx)
		revoke(ctx, revoked, 1, nil)
		Consistently(ctx, func() any { return fresh(ctx, revoked).Status.RevokedAt }).WithTimeout(500 * time.Millisecond).Should(BeNil())
		Expect(admin.Delete(ctx, revoked)).To(Succeed())
		Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(revoked), revoked)) }).WithTimeout(patience).Should(BeTrue(), "there is no CRL any more")
	})

	It("isn't issued with the key of another account", func(ctx SpecContext) {
		o := newOperator(ctx)
		c, other := o.registered(ctx), o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalizeWith(ctx, order, newCSR(other.key, "a.test"))
		Expect(expectFailed(ctx, order).Detail).To(Equal("the certificate's key is the key of an account; use another key"))
	})

	It("isn't issued beyond what the issuer allows now, whoever allowed it before", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order, many := c.readyOrder(ctx, "a.test"), c.readyOrder(ctx, "b.test", "c.test")
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Policy.DNS.Deny = []string{"a.test"}
			spec.Profiles[0].MaxIdentifiers = 1
		})
		c.finalize(ctx, order)
		Expect(expectFailed(ctx, order)).To(And(HaveField("Type", acme.RejectedIdentifier), HaveField("Detail", ContainSubstring("is denied by this issuer's policy"))))
		c.finalize(ctx, many)
		Expect(expectFailed(ctx, many).Detail).To(ContainSubstring("at most 1 identifiers"))
	})

	It("isn't issued on a profile that is gone", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := o.prove(ctx, c.authorize(ctx, "a.test"))
		order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: authz.Spec.AccountRef, Profile: "gone",
			Identifiers: []v1alpha1.Identifier{authz.Spec.Identifier}, Authorizations: []string{authz.Name},
		}}
		order.Namespace, order.Name = o.namespace, newName()
		Expect(admin.Create(ctx, order)).To(Succeed())
		c.finalize(ctx, order)
		Expect(expectFailed(ctx, order).Type).To(Equal(acme.InvalidProfile))
	})

	It("fails where its account is gone", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		Expect(admin.Delete(ctx, c.account)).To(Succeed())
		o.clock.Step(time.Minute)
		c.finalize(ctx, order)
		Expect(expectFailed(ctx, order)).To(And(HaveField("Type", acme.AccountDoesNotExist), HaveField("Detail", ContainSubstring(c.account.Name))))
	})

	It("waits while its issuer is suspended", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		issuer := o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Suspend = true })
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonSuspended))
		c.finalize(ctx, order)
		Consistently(ctx, func() acme.State { return fresh(ctx, order).Status.State }).WithTimeout(time.Second).Should(Equal(acme.StatePending))
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Suspend = false })
		expectIssued(ctx, order)
	})

	It("ends with its issuer", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		issued := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, issued)
		expectIssued(ctx, issued)
		pending, ready := c.order(ctx, c.authorize(ctx, "b.test")), c.readyOrder(ctx, "c.test")
		Expect(admin.Delete(ctx, o.issuer(ctx))).To(Succeed())
		for _, order := range []*v1alpha1.AcmeOrder{pending, ready} {
			Expect(expectFailed(ctx, order)).To(And(HaveField("Type", acme.ServerInternal), HaveField("Detail", Equal(`the issuer "ca" was deleted`))))
		}
		Expect(fresh(ctx, issued).Status.State).To(Equal(acme.StateValid))
		Expect(fresh(ctx, c.account).Status.State).To(Equal(acme.StateValid), "accounts outlive their issuer")
	})

	It("waits while a bad edit keeps its issuer from issuing, says so, and goes on when it is repaired", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		issuer := o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.DefaultProfile = "gone" })
		Expect(readyOf(issuer)).To(And(HaveField("Reason", v1alpha1.ReasonInvalidSpec), HaveField("Message", ContainSubstring("spec.defaultProfile"))))
		c.finalize(ctx, order)
		Eventually(ctx, func() metav1.Condition { return conditionOf(fresh(ctx, order)) }).WithTimeout(patience).Should(And(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonIssuerNotReady), HaveField("Message", ContainSubstring("spec.defaultProfile")),
		))
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.DefaultProfile = "" })
		expectIssued(ctx, order)
		Expect(conditionOf(order)).To(HaveField("Reason", v1alpha1.ReasonIssued))
	})
})

var _ = Describe("Issuance", func() {
	It("gives the very same certificate when the controller dies between signing and writing", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		o.fail(true)
		c.finalize(ctx, order)
		Eventually(ctx, func() []string { return o.certificates(order) }).WithTimeout(patience).ShouldNot(BeEmpty())
		Expect(fresh(ctx, order).Status.Certificate).To(BeEmpty())
		o.stop()
		lost := o.certificates(order)[0]

		o.clock.Step(10 * time.Minute)
		o.fail(false)
		o.start()
		expectIssued(ctx, order)
		Expect(order.Status.Certificate).To(Equal(lost))
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		Expect(ok).To(BeTrue())
		name, leads := acme.OrderOfSerial(serial)
		Expect(leads).To(BeTrue())
		Expect(name).To(Equal(order.Name))
	})

	It("gives one certificate for each order where two controllers are at it", func(ctx SpecContext) {
		o := newOperator(ctx)
		one := o.stop
		o.start() // beside the other one
		c := o.registered(ctx)
		var orders []*v1alpha1.AcmeOrder
		for i := range 5 {
			orders = append(orders, c.readyOrder(ctx, fmt.Sprintf("n%d.test", i)))
		}
		for _, order := range orders {
			c.finalize(ctx, order)
		}
		for _, order := range orders {
			expectIssued(ctx, order)
			for _, certificate := range o.certificates(order) {
				Expect(certificate).To(Equal(order.Status.Certificate))
			}
		}
		one()
	})

	It("isn't repeated when an order is reconciled again", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		before := order.DeepCopy()
		o.restart()
		o.later(ctx, time.Hour, order)
		Consistently(ctx, func() v1alpha1.AcmeOrderStatus { return fresh(ctx, order).Status }).WithTimeout(time.Second).Should(Equal(before.Status))
		Expect(o.certificates(order)).To(HaveLen(1))
	})

	It("gives an order that is made again under its name another certificate", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := o.prove(ctx, c.authorize(ctx, "a.test"))
		key := newSigner()
		issue := func(name string) string {
			order := c.order(ctx, authz)
			again := &v1alpha1.AcmeOrder{Spec: order.Spec}
			again.Namespace, again.Name = o.namespace, name
			Expect(admin.Create(ctx, again)).To(Succeed())
			c.finalizeWith(ctx, again, newCSR(key, "a.test"))
			expectIssued(ctx, again)
			Expect(admin.Delete(ctx, again)).To(Succeed())
			Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(again), again)) }).WithTimeout(patience).Should(BeTrue())
			return again.Status.Serial
		}
		name := newName()
		Expect(issue(name)).NotTo(Equal(issue(name)))
	})
})
