package conformance

import (
	"crypto/x509"
	"net/http"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The directory", func() {
	It("lists the resources and the CA's metadata (RFC 8555 section 7.1.1)", func() {
		r := newWire().get("directory")
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.Header.Get("Content-Type")).To(Equal("application/json"))
		document := r.json()
		for member, path := range map[string]string{
			"newNonce": "new-nonce", "newAccount": "new-account", "newOrder": "new-order", "revokeCert": "revoke-cert", "keyChange": "key-change",
		} {
			Expect(document).To(HaveKeyWithValue(member, running.BaseURL()+"/acme/"+path))
		}
		Expect(document["meta"]).To(HaveKeyWithValue("externalAccountRequired", false))
		Expect(document["meta"]).To(HaveKeyWithValue("profiles", HaveKey("default")))
	})

	It("is served under the issuer's own path too, with URLs on that path", func() {
		w := newWire()
		r := w.do(http.MethodGet, running.BaseURL()+"/acmeca-system/default/acme/directory", "", nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.json()).To(HaveKeyWithValue("newOrder", running.BaseURL()+"/acmeca-system/default/acme/new-order"))
	})

	It("never takes its base from a client's Host header", func() {
		w := newWire()
		request, err := http.NewRequest(http.MethodGet, w.base+"directory", nil)
		Expect(err).NotTo(HaveOccurred())
		request.Host = "evil.example"
		response, err := w.http.Do(request)
		Expect(err).NotTo(HaveOccurred())
		defer response.Body.Close()
		Expect(response.Header.Values("Link")).NotTo(ContainElement(ContainSubstring("evil")))
		Expect(response.StatusCode).To(Equal(http.StatusOK))
	})
})

var _ = Describe("Nonces (RFC 8555 section 7.2)", func() {
	It("come with HEAD and 200, with GET and 204, never cached, and with the link to the directory", func() {
		w := newWire()
		for method, status := range map[string]int{http.MethodHead: http.StatusOK, http.MethodGet: http.StatusNoContent} {
			r := w.do(method, w.base+"new-nonce", "", nil)
			Expect(r.StatusCode).To(Equal(status))
			Expect(r.Header.Get("Replay-Nonce")).To(MatchRegexp(`^[A-Za-z0-9_-]+$`))
			Expect(r.Header.Get("Cache-Control")).To(Equal("no-store"))
			Expect(r.links("index")).To(ConsistOf(w.base + "directory"))
		}
	})
})

var _ = Describe("A certificate", func() {
	for _, algorithm := range []string{"RS256", "ES256", "ES384", "EdDSA"} {
		It("is issued to an account whose key is for "+algorithm, func() {
			a := registered(algorithm)
			name := strings.ToLower(algorithm) + ".test"
			_, der, _ := a.issued(name)
			certificate, err := x509.ParseCertificate(der)
			Expect(err).NotTo(HaveOccurred())
			Expect(certificate.DNSNames).To(ConsistOf(name))
		})
	}

	for _, algorithm := range []string{"RS256", "ES256", "ES384", "EdDSA"} {
		It("is issued for a certificate key for "+algorithm, func() {
			a := registered("ES256")
			o := a.ready("key.test")
			r := a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), algorithm), "key.test")})
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
			Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("valid"))
		})
	}

	It("has all names of its order, and a chain to the published root (RFC 8555 section 9.1)", func() {
		a := registered("ES256")
		o := a.ready("one.test", "two.test", "three.test")
		key := jwstest.NewKey(GinkgoTB(), "ES256")
		r := a.post(o.finalize, map[string]any{"csr": csr(key, "three.test", "one.test", "two.test")})
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.Header.Get("Location")).To(Equal(o.url))
		Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("valid"))

		r = a.post(a.post(o.url, nil).json()["certificate"].(string), nil)
		Expect(r.Header.Get("Content-Type")).To(Equal("application/pem-certificate-chain"))
		chain := parseChain(r.body)
		Expect(chain[0].DNSNames).To(ConsistOf("one.test", "two.test", "three.test"))
		roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
		bundle, err := os.ReadFile(running.CAFile())
		Expect(err).NotTo(HaveOccurred())
		Expect(roots.AppendCertsFromPEM(bundle)).To(BeTrue())
		for _, c := range chain[1:] {
			intermediates.AddCert(c)
		}
		_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: "two.test"})
		Expect(err).NotTo(HaveOccurred())
		Expect(chain).To(HaveLen(2), "the root is omitted")
	})

	It("is in the order that kubectl shows, with the client's signed requests", func(ctx SpecContext) {
		a := registered("ES256")
		o, _, _ := a.issued("shown.test")
		stored := &v1alpha1.AcmeOrder{}
		id := o.url[strings.LastIndex(o.url, "/")+1:]
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: id}, stored)).To(Succeed())
		Expect(stored.Status.State).To(Equal(acme.StateValid))
		Expect(stored.Status.Certificate).To(HavePrefix("-----BEGIN CERTIFICATE-----"))
		Expect(stored.Spec.Finalization.Request.Signature).NotTo(BeEmpty())
		Expect(stored.Spec.Finalization.Request.Payload).To(HavePrefix("{'csr':'"), "the request is readable")
	})

	It("is served only to its account", func() {
		o, _, _ := registered("ES256").issued("mine.test")
		other := registered("ES256")
		expectProblem(other.post(strings.Replace(o.url, "/order/", "/cert/", 1), nil), http.StatusForbidden, acme.Unauthorized)
		expectProblem(other.post(o.url, nil), http.StatusForbidden, acme.Unauthorized)
		expectProblem(other.post(o.authorize[0], nil), http.StatusForbidden, acme.Unauthorized)
		expectProblem(other.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "mine.test")}), http.StatusForbidden, acme.Unauthorized)
	})
})

var _ = Describe("Resources on the way to a certificate", func() {
	It("are linked as in the figure of RFC 8555 section 7.1", func() {
		a := registered("ES256")
		o := a.newOrder("links.test")
		c := a.challenge(o.authorize[0], "http-01")
		for _, url := range []string{a.url, o.url, o.authorize[0], c["url"].(string)} {
			r := a.post(url, nil)
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s: %s", url, r.body)
			Expect(r.links("index")).To(ConsistOf(a.base + "directory"))
			Expect(r.Header.Get("Replay-Nonce")).NotTo(BeEmpty())
			Expect(r.Header.Get("Cache-Control")).To(Equal("no-store"))
		}
		Expect(a.post(c["url"].(string), nil).links("up")).To(ConsistOf(o.authorize[0]))
	})

	It("start no validation when they are read (RFC 8555 section 6.3 and 7.5.1)", func() {
		a := registered("ES256")
		o := a.newOrder("read.test")
		c := a.challenge(o.authorize[0], "http-01")
		for range 3 {
			Expect(a.post(c["url"].(string), nil).json()).To(HaveKeyWithValue("status", "pending"))
		}
	})

	It("answer a second response to a challenge with the outcome of the first (200)", func() {
		a := registered("ES256")
		o := a.ready("again.test")
		c := a.challenge(o.authorize[0], "http-01")
		r := a.post(c["url"].(string), map[string]any{})
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.json()).To(HaveKeyWithValue("status", "valid"))
	})

	It("show why a validation failed, in the challenge and in the order", func() {
		a := registered("ES256")
		o := a.newOrder("wrong.test")
		c := a.challenge(o.authorize[0], "http-01")
		responder.Put(c["token"].(string), "something else")
		a.post(c["url"].(string), map[string]any{})
		Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "20s").Should(Equal("invalid"))
		Expect(a.post(o.url, nil).json()["error"]).To(HaveKeyWithValue("type", acme.IncorrectResponse.URN()))
		failed := a.challenge(o.authorize[0], "http-01")
		Expect(failed).To(HaveKeyWithValue("status", "invalid"))
		Expect(failed["error"]).To(HaveKeyWithValue("type", acme.IncorrectResponse.URN()))
		Expect(failed["error"]).NotTo(HaveKey("identifier"), "RFC 8555 section 6.7.1")
	})

	It("are found on either of the issuer's paths", func() {
		a := registered("ES256")
		o := a.newOrder("bases.test")
		long := strings.Replace(o.url, "/acme/", "/acmeca-system/default/acme/", 1)
		r := a.post(long, nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.json()["finalize"]).To(HavePrefix(running.BaseURL() + "/acmeca-system/default/acme/order/"))
	})

	It("are unknown under an odd path (404, without a change of access)", func() {
		a := registered("ES256")
		o := a.newOrder("odd.test")
		for _, url := range []string{o.url + "/", o.url + "//", strings.Replace(o.url, "/order/", "//order/", 1), o.url + "%2e", o.url + "/../" + o.url[strings.LastIndex(o.url, "/")+1:]} {
			r := a.send(url, a.header(o.url), nil)
			Expect(r.StatusCode).To(Equal(http.StatusNotFound), "%s: %s", url, r.body)
			expectProblem(r, http.StatusNotFound, acme.Malformed)
		}
	})
})

var _ = Describe("Accounts (RFC 8555 section 7.3)", func() {
	It("are found by their key", func() {
		a := registered("ES256")
		url := a.url
		r := a.register(map[string]any{"onlyReturnExisting": true})
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(a.url).To(Equal(url))
		Expect(a.register(map[string]any{}).StatusCode).To(Equal(http.StatusOK))
	})

	It("are not created by requests for an existing one", func() {
		expectProblem(newAccountKey("ES256").register(map[string]any{"onlyReturnExisting": true}), http.StatusBadRequest, acme.AccountDoesNotExist)
	})

	It("show contacts as sent, and accept new ones", func() {
		a := newAccountKey("ES256")
		r := a.register(map[string]any{"contact": []string{"mailto:Admin@Example.COM"}})
		Expect(r.StatusCode).To(Equal(http.StatusCreated))
		Expect(r.json()).To(HaveKeyWithValue("contact", ConsistOf("mailto:Admin@Example.COM")))
		r = a.post(a.url, map[string]any{"contact": []string{"mailto:other@example.com"}})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.json()).To(HaveKeyWithValue("contact", ConsistOf("mailto:other@example.com")))
		Expect(r.Header.Get("Location")).To(Equal(a.url))
	})

	It("refuse contacts other than one mailto address each", func() {
		for contact, kind := range map[string]acme.ProblemType{
			"tel:+123": acme.UnsupportedContact, "mailto:a@b.example,c@d.example": acme.InvalidContact,
			"mailto:a@b.example?subject=x": acme.InvalidContact, "mailto:nobody": acme.InvalidContact, "a@b.example": acme.InvalidContact,
		} {
			r := newAccountKey("ES256").register(map[string]any{"contact": []string{contact}})
			expectProblem(r, http.StatusBadRequest, kind)
		}
	})

	It("are deactivated permanently", func() {
		a := registered("ES256")
		r := a.post(a.url, map[string]any{"status": "deactivated"})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.json()).To(HaveKeyWithValue("status", "deactivated"))
		expectProblem(a.post(a.base+"new-order", map[string]any{"identifiers": names("late.test")}), http.StatusUnauthorized, acme.Unauthorized)
		expectProblem(a.register(map[string]any{"onlyReturnExisting": true}), http.StatusUnauthorized, acme.Unauthorized)
	})

	It("change their key, after which the old one is invalid (RFC 8555 section 7.3.5)", func() {
		a := registered("ES256")
		old, next := a.key, jwstest.NewKey(GinkgoTB(), "RS256")
		change := a.base + "key-change"
		r := a.post(change, jwstest.KeyChange(GinkgoTB(), next, old, a.url, change))
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		a.key = next
		Expect(a.post(a.url, nil).StatusCode).To(Equal(http.StatusOK))
		Expect(a.register(map[string]any{"onlyReturnExisting": true}).Header.Get("Location")).To(Equal(a.url))
		a.issued("after-change.test")
		a.key = old
		Expect(a.post(a.url, nil).StatusCode).To(Equal(http.StatusBadRequest))
		expectProblem(a.register(map[string]any{}), http.StatusForbidden, acme.Unauthorized)
	})

	It("cannot change to the key of another account (409 with its URL)", func() {
		a, b := registered("ES256"), registered("ES256")
		change := a.base + "key-change"
		r := a.post(change, jwstest.KeyChange(GinkgoTB(), b.key, a.key, a.url, change))
		expectProblem(r, http.StatusConflict, acme.Malformed)
		Expect(r.Header.Get("Location")).To(Equal(b.url))
	})
})

var _ = Describe("Revocation (RFC 8555 section 7.6)", func() {
	encode := func(der []byte, reason int) map[string]any {
		return map[string]any{"certificate": jwstest.Encode(GinkgoTB(), der), "reason": reason}
	}

	It("succeeds for the ordering account, once", func() {
		a := registered("ES256")
		_, der, _ := a.issued("revoked.test")
		r := a.post(a.base+"revoke-cert", encode(der, 1))
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.body).To(BeEmpty())
		expectProblem(a.post(a.base+"revoke-cert", encode(der, 1)), http.StatusBadRequest, acme.AlreadyRevoked)
	})

	It("succeeds with the certificate's key", func() {
		a := registered("ES256")
		_, der, key := a.issued("by-key.test")
		holder := &account{wire: newWire(), key: key}
		r := holder.postWithKey(a.base+"revoke-cert", encode(der, 1))
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	})

	It("succeeds for another account authorized for all names, and for none authorized for some", func() {
		a, b := registered("ES256"), registered("ES256")
		_, der, _ := a.issued("shared-one.test", "shared-two.test")
		b.ready("shared-one.test")
		expectProblem(b.post(a.base+"revoke-cert", encode(der, 4)), http.StatusForbidden, acme.Unauthorized)
		b.ready("shared-two.test")
		expectProblem(b.post(a.base+"revoke-cert", encode(der, 1)), http.StatusBadRequest, acme.BadRevocationReason) // the reason needs the key
		r := b.post(a.base+"revoke-cert", encode(der, 4))
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	})

	It("is refused to everyone else, and the certificate stays revocable", func() {
		a := registered("ES256")
		_, der, _ := a.issued("stranger.test")
		expectProblem(registered("ES256").post(a.base+"revoke-cert", encode(der, 1)), http.StatusForbidden, acme.Unauthorized)
		expectProblem(newAccountKey("ES256").postWithKey(a.base+"revoke-cert", encode(der, 1)), http.StatusForbidden, acme.Unauthorized)
		Expect(a.post(a.base+"revoke-cert", encode(der, 1)).StatusCode).To(Equal(http.StatusOK))
	})

	It("accepts the reasons of a subscriber", func() {
		a := registered("ES256")
		_, der, _ := a.issued("reason.test")
		for _, reason := range []int{2, 6, 7, 8, 10, 11, -1} {
			expectProblem(a.post(a.base+"revoke-cert", encode(der, reason)), http.StatusBadRequest, acme.BadRevocationReason)
		}
	})

	It("is published in the certificate's CRL over plain HTTP, before the order can be deleted", func(ctx SpecContext) {
		a := registered("ES256")
		o, der, _ := a.issued("listed.test")
		certificate, err := x509.ParseCertificate(der)
		Expect(err).NotTo(HaveOccurred())
		Expect(certificate.CRLDistributionPoints).To(HaveLen(1))
		url := certificate.CRLDistributionPoints[0]
		Expect(url).To(HavePrefix("http://"))
		fetch := func() *x509.RevocationList {
			GinkgoHelper()
			r := a.do(http.MethodGet, url, "", nil)
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
			Expect(r.Header.Get("Content-Type")).To(Equal("application/pkix-crl"))
			crl, err := x509.ParseRevocationList(r.body)
			Expect(err).NotTo(HaveOccurred())
			return crl
		}
		issuer := parseDER(a.do(http.MethodGet, certificate.IssuingCertificateURL[0], "", nil).body)
		before := fetch()
		Expect(before.CheckSignatureFrom(issuer)).To(Succeed())
		Expect(before.RevokedCertificateEntries).NotTo(ContainElement(HaveField("SerialNumber", certificate.SerialNumber)))

		Expect(a.post(a.base+"revoke-cert", encode(der, 4)).StatusCode).To(Equal(http.StatusOK))
		stored := &v1alpha1.AcmeOrder{}
		stored.Namespace, stored.Name = "acmeca-system", o.url[strings.LastIndex(o.url, "/")+1:]
		Expect(kube.Delete(ctx, stored)).To(Succeed())

		Eventually(func() []x509.RevocationListEntry { return fetch().RevokedCertificateEntries }, "5s").
			Should(ContainElement(And(HaveField("SerialNumber", certificate.SerialNumber), HaveField("ReasonCode", 4))))
		after := fetch()
		Expect(after.Number.Cmp(before.Number)).To(Equal(1))
		Expect(after.CheckSignatureFrom(issuer)).To(Succeed())
		Eventually(func() error { return kube.Get(ctx, client.ObjectKeyFromObject(stored), stored) }, "5s").Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
		Consistently(func() []x509.RevocationListEntry { return fetch().RevokedCertificateEntries }, "1500ms", "300ms").
			Should(ContainElement(HaveField("SerialNumber", certificate.SerialNumber)))
	})
})
