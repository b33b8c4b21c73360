package conformance

import (
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("Rate limits (RFC 8555 section 6.6)", func() {
	limit := func(count int, period time.Duration) *v1alpha1.RateLimit {
		return &v1alpha1.RateLimit{Count: count, Period: metav1.Duration{Duration: period}}
	}
	expectLimited := func(r *reply, period time.Duration) {
		GinkgoHelper()
		expectProblem(r, http.StatusTooManyRequests, acme.RateLimited)
		seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
		Expect(err).NotTo(HaveOccurred())
		Expect(seconds).To(BeNumerically(">", 0))
		Expect(seconds).To(BeNumerically("<=", period.Seconds()))
	}

	It("bound the new orders of an account", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.RateLimits.NewOrders = limit(3, time.Hour) })
		a, other := newAccountAt(issuer), newAccountAt(issuer)
		a.register(map[string]any{})
		other.register(map[string]any{})
		_, der, _ := a.issued("limited.test")
		a.newOrder("limited.test")
		Expect(a.newAuthz("dns", "limited.test").StatusCode).To(Equal(http.StatusCreated))
		request := map[string]any{"identifiers": names("limited.test")}
		expectLimited(a.post(a.base+"new-order", request), time.Hour)
		expectLimited(a.newAuthz("dns", "limited.test"), time.Hour)
		other.newOrder("limited.test")
		request["replaces"] = certID(der)
		expectLimited(a.post(a.base+"new-order", request), time.Hour) // the suggested window has not begun
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.RenewalInfo.RenewIssuedBefore = ptr.To(metav1.NewTime(time.Now().Add(2 * time.Second)))
		})
		time.Sleep(3 * time.Second)
		Expect(a.post(a.base+"new-order", request).StatusCode).To(Equal(http.StatusCreated), "a renewal is free")
	})

	It("hold for concurrent requests", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.RateLimits.NewOrders, spec.RateLimits.NewAccounts = limit(3, time.Hour), limit(3, time.Hour)
		})
		statuses := func(send func() *reply) (all []int) {
			GinkgoHelper()
			answers := make([]*reply, 12)
			var wait sync.WaitGroup
			for i := range answers {
				wait.Go(func() {
					defer GinkgoRecover()
					answers[i] = send()
				})
			}
			wait.Wait()
			for _, answer := range answers {
				if answer.StatusCode == http.StatusCreated {
					all = append(all, answer.StatusCode)
				} else {
					expectLimited(answer, time.Hour)
				}
			}
			return all
		}
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		Expect(statuses(func() *reply {
			same := &account{wire: newWire().at(issuer), key: a.key, url: a.url}
			return same.post(same.base+"new-order", map[string]any{"identifiers": names("burst.test")})
		})).To(HaveLen(3))
		Expect(statuses(func() *reply { return newAccountAt(issuer).register(map[string]any{}) })).To(HaveLen(2), "one existed before")
	})

	It("allow an account to order again after Retry-After", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.RateLimits.NewOrders = limit(1, 2*time.Second) })
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		a.newOrder("again.test")
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("again.test")})
		expectLimited(r, 2*time.Second)
		seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
		Expect(err).NotTo(HaveOccurred())
		until := time.Now().Add(time.Duration(seconds) * time.Second)
		Eventually(time.Now, "5s").Should(BeTemporally(">", until))
		a.newOrder("again.test")
	})

	It("bound an account's failed validations of a name", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.RateLimits.FailedValidations = limit(2, time.Hour) })
		a, other := newAccountAt(issuer), newAccountAt(issuer)
		a.register(map[string]any{})
		other.register(map[string]any{})
		for range 2 {
			o := a.newOrder("failing.test")
			c := a.challenge(o.authorize[0], "http-01")
			responder.Put(c["token"].(string), "wrong")
			a.post(c["url"].(string), map[string]any{})
			Eventually(func() any { return a.post(o.authorize[0], nil).json()["status"] }, "20s").Should(Equal("invalid"))
		}
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("fine.test", "failing.test")})
		expectLimited(r, time.Hour)
		Expect(r.json()["subproblems"]).To(ConsistOf(HaveKeyWithValue("identifier", HaveKeyWithValue("value", "failing.test"))))
		expectLimited(a.newAuthz("dns", "failing.test"), time.Hour)
		a.newOrder("fine.test")
		other.newOrder("failing.test")
	})

	It("bound the new accounts of an address", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.RateLimits.NewAccounts = limit(2, time.Hour) })
		first := newAccountAt(issuer)
		Expect(first.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		Expect(newAccountAt(issuer).register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		late := newAccountAt(issuer)
		expectLimited(late.register(map[string]any{}), time.Hour)
		expectProblem(late.register(map[string]any{"onlyReturnExisting": true}), http.StatusBadRequest, acme.AccountDoesNotExist)
		Expect(first.register(map[string]any{}).StatusCode).To(Equal(http.StatusOK), "an existing account is found")
		account := &v1alpha1.AcmeAccount{}
		fetch(ctx, first.url, account)
		Expect(account.Spec.RegisteredFrom).To(Equal("127.0.0.1"))

		transport := late.http.Transport.(*http.Transport).Clone()
		transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
		late.http = &http.Client{Transport: transport}
		Expect(late.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated), "from another address")
	})
})
