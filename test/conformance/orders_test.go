package conformance

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// orders is one page of an account's orders.
func (a *account) orders(url string) (orders []string, next string) {
	GinkgoHelper()
	r := a.post(url, nil)
	Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	Expect(r.json()).To(HaveKey("orders"))
	for _, order := range r.json()["orders"].([]any) {
		orders = append(orders, order.(string))
	}
	if links := r.links("next"); len(links) > 0 {
		next = links[0]
	}
	return orders, next
}

func (a *account) ordersURL() string {
	GinkgoHelper()
	return a.post(a.url, nil).json()["orders"].(string)
}

var _ = Describe("The list of an account's orders (RFC 8555 section 7.1.2.1)", func() {
	It("is empty for a new account, and has an order as soon as it is created", func() {
		a := registered("ES256")
		orders, next := a.orders(a.ordersURL())
		Expect(orders).To(BeEmpty())
		Expect(next).To(BeEmpty())
		first, second := a.newOrder("first.test"), a.newOrder("second.test")
		orders, _ = a.orders(a.ordersURL())
		Expect(orders).To(ConsistOf(first.url, second.url))
	})

	It("has pending and valid orders, and no invalid ones", func() {
		a := registered("ES256")
		valid, _, _ := a.issued("listed.test")
		pending, failed := a.newOrder("pending.test"), a.newOrder("failed.test")
		a.post(failed.authorize[0], map[string]any{"status": "deactivated"})
		Eventually(func() any { return a.post(failed.url, nil).json()["status"] }, "10s").Should(Equal("invalid"))
		orders, _ := a.orders(a.ordersURL())
		Expect(orders).To(ConsistOf(valid.url, pending.url))
	})

	It("comes in linked pages, with each order once", func(ctx SpecContext) {
		a := registered("ES256")
		id := a.url[strings.LastIndex(a.url, "/")+1:]
		want := map[string]bool{}
		for range 230 { // as the ACME server creates them, but faster
			order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
				IssuerRef: v1alpha1.ObjectRef{Name: "default"}, AccountRef: v1alpha1.ObjectRef{Name: id},
				Identifiers:    []v1alpha1.Identifier{{Type: acme.DNS, Value: "page.test"}},
				Authorizations: []string{"none"},
			}}
			order.ObjectMeta = metav1.ObjectMeta{Namespace: "acmeca-system", Name: v1alpha1.NewObjectName(time.Now())}
			Expect(kube.Create(ctx, order)).To(Succeed())
			want[a.base+"order/"+order.Name] = true
		}
		Eventually(func() int {
			got, pages := map[string]bool{}, 0
			for url := a.ordersURL(); url != ""; pages++ {
				var orders []string
				orders, url = a.orders(url)
				Expect(len(orders)).To(BeNumerically("<=", 100))
				for _, order := range orders {
					Expect(got).NotTo(HaveKey(order))
					Expect(want).To(HaveKey(order))
					got[order] = true
				}
			}
			Expect(pages).To(Equal((len(got) + 99) / 100))
			return len(got)
		}, "10s").Should(Equal(len(want)))
	})

	It("is readable by the account only", func() {
		a, other := registered("ES256"), registered("ES256")
		expectProblem(other.post(a.ordersURL(), nil), http.StatusForbidden, acme.Unauthorized)
		expectProblem(a.post(a.ordersURL(), map[string]any{}), http.StatusBadRequest, acme.Malformed)
		for _, place := range []string{"x", "AAAA", "MTIuLi8uLg"} {
			expectProblem(a.post(a.ordersURL()+"/"+place, nil), http.StatusBadRequest, acme.Malformed)
		}
	})

	It("leads to no other objects from a place that a client invents", func(SpecContext) {
		a, other := registered("ES256"), registered("ES256")
		own := a.newOrder("own.test")
		other.newOrder("other.test")
		for _, token := range []string{
			`{"v":"meta.k8s.io/v1","rv":1,"start":"0\u0000"}`,
			`{"v":"meta.k8s.io/v1","rv":-1,"start":"0\u0000"}`,
			`{"v":"meta.k8s.io/v1","rv":9000000000000000000,"start":"0\u0000"}`, // of the future: this takes seconds
			`{"v":"meta.k8s.io/v1","rv":0,"start":"0\u0000"}`,
			`{"v":"meta.k8s.io/v1","rv":-1,"start":""}`,
			`{"v":"meta.k8s.io/v1","rv":-1,"start":"../acmeca-system/0\u0000"}`,
			`{"v":"meta.k8s.io/v1","rv":-1,"start":"../../acmeaccounts/acmeca-system/\u0000"}`,
			`{"v":"another","rv":-1,"start":"0\u0000"}`,
			`{}`, `[]`, `null`,
		} {
			r := a.post(a.ordersURL()+"/"+base64.RawURLEncoding.EncodeToString([]byte(token)), nil)
			Expect(r.StatusCode).To(BeElementOf(http.StatusOK, http.StatusBadRequest), "%s: %s", token, r.body)
			if r.StatusCode == http.StatusOK {
				Expect(r.json()["orders"]).To(Or(BeEmpty(), HaveEach(own.url)), token)
			}
		}
	}, SpecTimeout(time.Minute))
})

var _ = Describe("An order that was ready", func() {
	It("becomes invalid, never pending, once its client has deactivated an authorization (RFC 8555 section 7.1.6)", func() {
		a := registered("ES256")
		for range 5 {
			o := a.ready("undone.test")
			Expect(a.post(o.authorize[0], map[string]any{"status": "deactivated"}).StatusCode).To(Equal(http.StatusOK))
			Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "invalid"))
			Eventually(func() any { return a.post(o.url, nil).json()["error"] }, "10s").ShouldNot(BeNil())
		}
	})
})
