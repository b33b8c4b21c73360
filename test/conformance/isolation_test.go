package conformance

import (
	"encoding/base64"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// An account's resources at one issuer are useless at another one, in the same or in another namespace, even with the
// correct identifier and the same key.
var _ = Describe("An account's resource at an issuer", Ordered, func() {
	var owner *account
	var o *order
	var certificate string
	var der []byte
	others := map[string]*v1alpha1.AcmeIssuer{}

	BeforeAll(func(ctx SpecContext) {
		owner = registered("ES256")
		o, der, _ = owner.issued("isolated.test")
		certificate = owner.post(o.url, nil).json()["certificate"].(string)
		others["in the same namespace"] = issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		Expect(kube.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "isolation"}})).To(Succeed())
		elsewhere := &v1alpha1.AcmeIssuer{Spec: others["in the same namespace"].Spec}
		elsewhere.Namespace, elsewhere.Name = "isolation", "default" // the same name
		Expect(kube.Create(ctx, elsewhere)).To(Succeed())
		waitForIssuer(ctx, elsewhere)
		others["of the same name in another namespace"] = elsewhere
	})

	for _, place := range []string{"in the same namespace", "of the same name in another namespace"} {
		// there returns a resource's URL at the other issuer.
		there := func(w *wire, url string) string { return w.base + strings.TrimPrefix(url, owner.base) }

		It("is unknown at another "+place+", for the same key either", func() {
			guest := newAccountAt(others[place])
			guest.key = owner.key
			Expect(guest.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated), "a separate account")
			Expect(guest.url).NotTo(Equal(owner.url))
			challenge := o.authorize[0][strings.LastIndex(o.authorize[0], "/")+1:]
			for _, url := range []string{o.url, o.authorize[0], certificate, owner.base + "chall/" + challenge + ".http-01"} {
				expectProblem(guest.post(there(guest.wire, url), nil), http.StatusNotFound, acme.Malformed)
			}
			request := map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "isolated.test")}
			expectProblem(guest.post(there(guest.wire, o.finalize), request), http.StatusNotFound, acme.Malformed)
			expectProblem(guest.post(guest.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(der)}), http.StatusNotFound, acme.Malformed)
			Expect(guest.post(guest.url+"/orders", nil).json()["orders"]).To(BeEmpty())
		})

		It("is refused at another "+place+" under its own URL", func() {
			guest := &account{wire: owner.at(others[place]), key: owner.key, url: owner.url}
			expectProblem(guest.post(guest.base+"new-order", map[string]any{"identifiers": names("isolated.test")}), http.StatusBadRequest, acme.AccountDoesNotExist)
			expectProblem(guest.post(guest.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(der)}), http.StatusBadRequest, acme.AccountDoesNotExist)
		})

		It("proves nothing at another "+place, func() {
			guest := newAccountAt(others[place])
			guest.key = owner.key
			guest.register(map[string]any{})
			fresh := guest.newOrder("isolated.test")
			Expect(fresh.document).To(HaveKeyWithValue("status", "pending"))
			expectProblem(guest.post(fresh.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "isolated.test")}), http.StatusForbidden, acme.OrderNotReady)
		})
	}

	It("stays with its owner", func() {
		Expect(owner.post(o.url, nil).json()).To(HaveKeyWithValue("status", "valid"))
		Expect(owner.post(certificate, nil).StatusCode).To(Equal(http.StatusOK))
	})
})
