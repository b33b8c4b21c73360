package suite

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/internal/test/http01"
)

// onLoopback makes an issuer certify loopback addresses, and validate them on a port: an address needs no DNS.
func onLoopback(port int) func(*v1alpha1.AcmeIssuerSpec) {
	return func(spec *v1alpha1.AcmeIssuerSpec) {
		spec.Policy.IP.Allow = []string{"127.0.0.0/8"}
		spec.Validation.HTTPPort = int32(port)
		spec.Validation.AllowedCIDRs = []string{"127.0.0.0/8"}
	}
}

var loopback = acme.Identifier{Type: acme.IP, Value: "127.0.0.1"}

// freePort returns a port on which nobody answers.
func freePort() int {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// accept responds to the http-01 challenge.
func (c *acmeClient) accept(ctx context.Context, authz *v1alpha1.AcmeAuthorization) {
	GinkgoHelper()
	c.respond(ctx, authz, c.sign(acme.ChallengePath(authz.Name, acme.HTTP01), struct{}{}))
}

func (c *acmeClient) respond(ctx context.Context, authz *v1alpha1.AcmeAuthorization, request *v1alpha1.SignedRequest) {
	GinkgoHelper()
	before := authz.DeepCopy()
	authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01, Request: *request}
	Expect(admin.Patch(ctx, authz, client.MergeFrom(before))).To(Succeed())
}

func expectAuthorization(ctx context.Context, authz *v1alpha1.AcmeAuthorization, state acme.State) {
	GinkgoHelper()
	Eventually(ctx, func() acme.State { return fresh(ctx, authz).Status.State }).WithTimeout(patience).Should(Equal(state), "%+v", authz.Status)
}

var _ = Describe("An authorization", func() {
	It("is valid after its account's key authorization is found, and has a record of the validation", func(ctx SpecContext) {
		port := freePort()
		responder, err := http01.Start(port)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(responder.Stop)
		o := newOperator(ctx, onLoopback(port))
		c := o.registered(ctx)
		authz := c.authorizeIdentifier(ctx, loopback)
		token := authz.Spec.Challenges[0].Token
		responder.Put(token, acme.KeyAuthorization(token, c.account.Status.Thumbprint))
		c.accept(ctx, authz)
		expectAuthorization(ctx, authz, acme.StateValid)
		Expect(authz.Status.Expires.Time).To(BeTemporally("==", o.clock.Now().Add(168*time.Hour)))
		Expect(authz.Status.Challenge.ValidatedAt.Time).To(BeTemporally("==", o.clock.Now()))
		Expect(authz.Status.Challenge.Attempts).To(Equal(1))
		Expect(authz.Status.Challenge.Record.AddressUsed).To(ContainSubstring("127.0.0.1"))
		Expect(authz.Status.Challenge.Record).To(And(HaveField("URLs", BeEmpty()), HaveField("Addresses", BeEmpty()), HaveField("Time", BeNil())))

		expires := authz.Status.Expires
		o.restart()
		o.later(ctx, time.Hour, authz)
		Consistently(ctx, func() any { return fresh(ctx, authz).Status.Expires }).WithTimeout(500 * time.Millisecond).Should(Equal(expires))
	})

	Context("whose challenge is being tried", func() {
		var o *operator
		var c *acmeClient
		var authz *v1alpha1.AcmeAuthorization
		var answer chan struct{}

		BeforeEach(func(ctx SpecContext) {
			port := freePort()
			o = newOperator(ctx, onLoopback(port))
			c = o.registered(ctx)
			authz = c.authorizeIdentifier(ctx, loopback)
			token, thumbprint := authz.Spec.Challenges[0].Token, c.account.Status.Thumbprint
			listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			Expect(err).NotTo(HaveOccurred())
			asked, wait := make(chan struct{}, 1), make(chan struct{})
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked <- struct{}{}
				<-wait
				_, _ = io.WriteString(w, acme.KeyAuthorization(token, thumbprint))
			})}
			go func() { _ = server.Serve(listener) }()
			DeferCleanup(server.Close)
			answer = wait
			c.accept(ctx, authz)
			Eventually(ctx, asked).WithTimeout(patience).Should(Receive())
		})

		It("becomes valid although its account changes its key meanwhile", func(ctx SpecContext) {
			c.changeKey(ctx, newSigner())
			o.touch(ctx, authz)
			close(answer)
			expectAuthorization(ctx, authz, acme.StateValid)
			Expect(authz.Status.Challenge.Attempts).To(Equal(1))
		})
	})

	It("fails at once on another response", func(ctx SpecContext) {
		port := freePort()
		responder, err := http01.Start(port)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(responder.Stop)
		o := newOperator(ctx, onLoopback(port))
		c := o.registered(ctx)
		authz := c.authorizeIdentifier(ctx, loopback)
		responder.Put(authz.Spec.Challenges[0].Token, "something else")
		c.accept(ctx, authz)
		expectAuthorization(ctx, authz, acme.StateInvalid)
		Expect(*authz.Status.Problem).To(And(HaveField("Type", acme.IncorrectResponse), HaveField("Identifier.Value", "127.0.0.1")))
		Expect(authz.Status.Challenge.State).To(Equal(acme.StateInvalid))
	})

	It("is retried after increasing waits while nobody answers, and then fails", func(ctx SpecContext) {
		o := newOperator(ctx, onLoopback(freePort()))
		c := o.registered(ctx)
		authz := c.authorizeIdentifier(ctx, loopback)
		others := o.clock.Waiters()
		c.accept(ctx, authz)
		for i := range len(attempts.Backoff) {
			Eventually(ctx, func() *v1alpha1.ChallengeStatus { return fresh(ctx, authz).Status.Challenge }).WithTimeout(patience).Should(HaveField("Attempts", i+1))
			Expect(authz.Status.State).To(Equal(acme.StatePending))
			Expect(authz.Status.Challenge.State).To(Equal(acme.StateProcessing))
			Expect(authz.Status.Challenge.Problem.Type).To(Equal(acme.Connection))
			Eventually(o.clock.Waiters).WithTimeout(patience).Should(BeNumerically(">", others))
			o.clock.Step(attempts.Backoff[i])
		}
		expectAuthorization(ctx, authz, acme.StateInvalid)
		Expect(authz.Status.Challenge.Attempts).To(Equal(len(attempts.Backoff) + 1))
		Expect(authz.Status.Problem.Type).To(Equal(acme.Connection))
	})

	It("is validated by a controller that starts after another one died", func(ctx SpecContext) {
		port := freePort()
		o := newOperator(ctx, onLoopback(port))
		c := o.registered(ctx)
		authz := c.authorizeIdentifier(ctx, loopback)
		c.accept(ctx, authz)
		Eventually(ctx, func() *v1alpha1.ChallengeStatus { return fresh(ctx, authz).Status.Challenge }).WithTimeout(patience).ShouldNot(BeNil())
		o.stop()
		responder, err := http01.Start(port)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(responder.Stop)
		token := authz.Spec.Challenges[0].Token
		responder.Put(token, acme.KeyAuthorization(token, c.account.Status.Thumbprint))
		o.start()
		expectAuthorization(ctx, authz, acme.StateValid)
		Expect(authz.Status.Challenge.Problem).To(BeNil())
	})

	DescribeTable("isn't validated on", func(ctx SpecContext, request func(*acmeClient, *v1alpha1.AcmeAuthorization) *v1alpha1.SignedRequest, words string) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := c.authorize(ctx, "a.test")
		c.respond(ctx, authz, request(c, authz))
		expectAuthorization(ctx, authz, acme.StateInvalid)
		Expect(authz.Status.Problem.Detail).To(ContainSubstring(words))
		Expect(authz.Status.Challenge.Attempts).To(BeZero())
		Eventually(ctx, func() []string { return o.events(ctx, authz) }).WithTimeout(patience).Should(ContainElement(And(HavePrefix("ResponseRefused"), ContainSubstring(words))))
	},
		Entry("a request for another challenge", func(c *acmeClient, a *v1alpha1.AcmeAuthorization) *v1alpha1.SignedRequest {
			return c.sign(acme.ChallengePath(a.Name, acme.DNS01), struct{}{})
		}, "the request was signed for another URL"),
		Entry("a POST-as-GET of the challenge", func(c *acmeClient, a *v1alpha1.AcmeAuthorization) *v1alpha1.SignedRequest {
			return c.sign(acme.ChallengePath(a.Name, acme.HTTP01), nil)
		}, "is a POST-as-GET"),
		Entry("another key's request", func(c *acmeClient, a *v1alpha1.AcmeAuthorization) *v1alpha1.SignedRequest {
			other := &acmeClient{operator: c.operator, key: newSigner(), account: c.account}
			return other.sign(acme.ChallengePath(a.Name, acme.HTTP01), struct{}{})
		}, "the signature does not verify"),
	)

	DescribeTable("isn't validated for an identifier or by a challenge that the issuer doesn't allow", func(ctx SpecContext, id acme.Identifier, edit func(*v1alpha1.AcmeIssuerSpec), words string) {
		o := newOperator(ctx, edit)
		c := o.registered(ctx)
		authz := c.authorizeIdentifier(ctx, id)
		c.accept(ctx, authz)
		expectAuthorization(ctx, authz, acme.StateInvalid)
		Expect(authz.Status.Problem.Detail).To(ContainSubstring(words))
		Expect(authz.Status.Challenge.Attempts).To(BeZero())
	},
		Entry("a name that is denied", acme.Identifier{Type: acme.DNS, Value: "a.denied.test"},
			func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.Deny = []string{"denied.test"} }, "is denied by this issuer's policy"),
		Entry("a challenge that isn't offered", acme.Identifier{Type: acme.DNS, Value: "a.test"},
			func(s *v1alpha1.AcmeIssuerSpec) { s.Challenges.Types = []acme.ChallengeType{acme.DNS01} }, "this issuer doesn't offer http-01"),
		Entry("a wildcard by http-01", acme.Identifier{Type: acme.DNS, Value: "*.a.test"}, func(*v1alpha1.AcmeIssuerSpec) {}, "http-01"),
		Entry("an address", loopback, func(*v1alpha1.AcmeIssuerSpec) {}, "outside the addresses"),
		Entry("no name", acme.Identifier{Type: acme.DNS, Value: "a_b/../c"}, func(*v1alpha1.AcmeIssuerSpec) {}, "a_b"),
	)

	It("expires, proved or not", func(ctx SpecContext) {
		o := newOperator(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Lifetimes.PendingAuthorization.Duration = time.Hour })
		c := o.registered(ctx)
		pending, valid := c.authorize(ctx, "a.test"), o.prove(ctx, c.authorize(ctx, "b.test"))
		o.later(ctx, time.Hour+time.Second, pending, valid)
		expectAuthorization(ctx, pending, acme.StateInvalid)
		Expect(pending.Status.Problem.Detail).To(ContainSubstring("was not proved in time"))
		expectAuthorization(ctx, valid, acme.StateExpired)
	})

	It("is deactivated by its client, and revoked by a person", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		ended := func(authz *v1alpha1.AcmeAuthorization, request *v1alpha1.SignedRequest) *v1alpha1.AcmeAuthorization {
			before := authz.DeepCopy()
			authz.Spec.Deactivation = &v1alpha1.Deactivation{Request: request}
			Expect(admin.Patch(ctx, authz, client.MergeFrom(before))).To(Succeed())
			return authz
		}
		byClient := o.prove(ctx, c.authorize(ctx, "a.test"))
		ended(byClient, c.sign(acme.AuthorizationPath(byClient.Name), map[string]string{"status": "deactivated"}))
		expectAuthorization(ctx, byClient, acme.StateDeactivated)
		expectAuthorization(ctx, ended(o.prove(ctx, c.authorize(ctx, "b.test")), nil), acme.StateRevoked)

		unproved := c.authorize(ctx, "d.test")
		ended(unproved, c.sign(acme.AuthorizationPath(unproved.Name), map[string]string{"status": "deactivated"}))
		expectAuthorization(ctx, unproved, acme.StateDeactivated)
		Expect(unproved.Status.Expires).NotTo(BeNil(), "or it would never be removed")

		refused := o.prove(ctx, c.authorize(ctx, "c.test"))
		ended(refused, c.sign(acme.AuthorizationPath(refused.Name), map[string]string{"status": "valid"}))
		Eventually(ctx, func() []string { return o.events(ctx, refused) }).WithTimeout(patience).Should(ContainElement(HavePrefix("DeactivationRefused")))
		Expect(fresh(ctx, refused).Status.State).To(Equal(acme.StateValid))
	})

	It("fails if its account was deleted", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		authz := c.authorize(ctx, "a.test")
		Expect(admin.Delete(ctx, c.account)).To(Succeed())
		o.clock.Step(time.Minute)
		c.accept(ctx, authz)
		expectAuthorization(ctx, authz, acme.StateInvalid)
		Expect(authz.Status.Problem.Type).To(Equal(acme.AccountDoesNotExist))
	})

	It("isn't validated while its issuer is suspended", func(ctx SpecContext) {
		o := newOperator(ctx, onLoopback(freePort()))
		c := o.registered(ctx)
		o.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Suspend = true })
		authz := c.authorizeIdentifier(ctx, loopback)
		c.accept(ctx, authz)
		Consistently(ctx, func() any { return fresh(ctx, authz).Status.Challenge }).WithTimeout(500 * time.Millisecond).Should(BeNil())
		o.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Suspend = false })
		Eventually(ctx, func() any { return fresh(ctx, authz).Status.Challenge }).WithTimeout(patience).ShouldNot(BeNil())
	})
})
