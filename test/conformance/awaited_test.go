package conformance

import (
	"net/http"
	"path"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// Virtual authorizations are stored when their client chooses a challenge (docs/decisions/0141).
var _ = Describe("An authorization without a chosen challenge", func() {
	isStored := func(ctx SpecContext, url string) bool {
		GinkgoHelper()
		err := kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: path.Base(url)}, &v1alpha1.AcmeAuthorization{})
		Expect(client.IgnoreNotFound(err)).To(Succeed())
		return !apierrors.IsNotFound(err)
	}

	It("is not stored, and is the same on each read, also once it is stored", func(ctx SpecContext) {
		a := registered("ES256")
		o := a.newOrder("awaited.test", "other.awaited.test")
		before := a.post(o.authorize[0], nil).json()
		Expect(a.post(o.authorize[0], nil).json()).To(Equal(before))
		Expect(isStored(ctx, o.authorize[0])).To(BeFalse())
		tokens := map[any]bool{}
		for _, url := range o.authorize {
			for _, c := range a.post(url, nil).json()["challenges"].([]any) {
				tokens[c.(map[string]any)["token"]] = true
			}
		}
		Expect(tokens).To(HaveLen(2*3), "each challenge has a token of its own")

		a.prove(o.authorize[0])
		Expect(isStored(ctx, o.authorize[0])).To(BeTrue())
		Expect(isStored(ctx, o.authorize[1])).To(BeFalse())
		proved := a.challenge(o.authorize[0], "http-01")
		for _, c := range before["challenges"].([]any) {
			if c := c.(map[string]any); c["type"] == "http-01" {
				Expect(proved).To(And(HaveKeyWithValue("url", c["url"]), HaveKeyWithValue("token", c["token"]), HaveKeyWithValue("status", "valid")))
			}
		}
		Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "pending"))
	})

	It("belongs to its account, and exists only for the order's identifiers", func() {
		a, other := registered("ES256"), registered("ES256")
		o := a.newOrder("theirs.awaited.test")
		expectProblem(other.post(o.authorize[0], nil), http.StatusForbidden, acme.Unauthorized)
		expectProblem(other.post(o.authorize[0], map[string]any{"status": "deactivated"}), http.StatusForbidden, acme.Unauthorized)
		challenge := a.challenge(o.authorize[0], "http-01")["url"].(string)
		expectProblem(other.post(challenge, map[string]any{}), http.StatusForbidden, acme.Unauthorized)
		base := strings.TrimSuffix(o.authorize[0], "-0")
		for _, url := range []string{base, base + "-1", base + "-00", base + "-", base + "-0-0"} {
			expectProblem(a.post(url, nil), http.StatusNotFound, acme.Malformed)
		}
		expectProblem(a.post(strings.Replace(challenge, "-0", "-1", 1), map[string]any{}), http.StatusNotFound, acme.Malformed)
	})

	It("can be deactivated, and the order with it (RFC 8555 section 7.5.2)", func(ctx SpecContext) {
		a := registered("ES256")
		o := a.newOrder("given-up.awaited.test")
		r := a.post(o.authorize[0], map[string]any{"status": "deactivated"})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.json()).To(HaveKeyWithValue("status", "deactivated"))
		Expect(isStored(ctx, o.authorize[0])).To(BeTrue())
		Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("invalid"))
		c := a.post(o.authorize[0], nil)
		Expect(c.json()).To(HaveKeyWithValue("status", "deactivated"))
	})

	It("accepts one of several concurrently chosen challenges, and answers all of them", func() {
		a := registered("ES256")
		o := a.newOrder("twice.awaited.test")
		var challenges []string
		for _, kind := range []string{"http-01", "dns-01", "tls-alpn-01"} {
			challenges = append(challenges, a.challenge(o.authorize[0], kind)["url"].(string))
		}
		replies := make([]*reply, len(challenges))
		var all sync.WaitGroup
		for i, url := range challenges {
			all.Go(func() {
				defer GinkgoRecover()
				replies[i] = a.post(url, map[string]any{})
			})
		}
		all.Wait()
		for _, r := range replies {
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		}
		Eventually(func() []string { return challengeTypes(a.post(o.authorize[0], nil).json()) }, "30s").Should(HaveLen(1))
	})

	It("cannot make the order ready", func() {
		a := registered("ES256")
		o := a.newOrder("early.awaited.test")
		expectProblem(a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "early.awaited.test")}), http.StatusForbidden, acme.OrderNotReady)
		Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "pending"))
	})
})
