package conformance

import (
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("The CRLs of an issuer", func() {
	It("cover each certificate at the URL that it names, while shards come and go (RFC 5280 section 5.2.5)", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.CRL.Shards = 0 })
		a := newAccountAt(issuer)
		Expect(a.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		var chains [][]*x509.Certificate
		for i, shards := range []int{0, 4, 0} {
			if i > 0 {
				changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.CRL.Shards = shards })
			}
			for _, name := range []string{"a", "b", "c"} {
				_, chain, _ := a.obtain(ctx, name+strings.Repeat("x", i)+".test")
				chains = append(chains, chain)
				Expect(strings.Contains(chain[0].CRLDistributionPoints[0], v1alpha1.CRLShardPrefix(chain[1]))).To(Equal(shards > 0))
			}
		}
		for _, chain := range chains {
			r := a.post(a.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(chain[0].Raw), "reason": 4})
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		}
		listed := func(url string) []x509.RevocationListEntry {
			r := a.do(http.MethodGet, url, "", nil)
			Expect(r.StatusCode).To(Equal(http.StatusOK), url)
			list, err := x509.ParseRevocationList(r.body)
			Expect(err).NotTo(HaveOccurred())
			Expect(list.CheckSignatureFrom(chains[0][1])).To(Succeed())
			return list.RevokedCertificateEntries
		}
		complete := chains[0][0].CRLDistributionPoints[0]
		Expect(chains[8][0].CRLDistributionPoints[0]).To(Equal(complete))
		for _, chain := range chains {
			entry := ContainElement(HaveField("SerialNumber", chain[0].SerialNumber))
			Eventually(ctx, listed, "10s", "50ms").WithArguments(chain[0].CRLDistributionPoints[0]).Should(entry)
			Eventually(ctx, listed, "10s", "50ms").WithArguments(complete).Should(entry)
		}
	})

	It("can be cached, and are sent again only if they changed (RFC 9110 section 13)", func(ctx SpecContext) {
		a := newAccountAt(issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {}))
		Expect(a.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		_, chain, _ := a.obtain(ctx, "cached.test")
		get := func(method, header, value string) *reply {
			GinkgoHelper()
			request, err := http.NewRequestWithContext(ctx, method, chain[0].CRLDistributionPoints[0], http.NoBody)
			Expect(err).NotTo(HaveOccurred())
			request.Header.Set(header, value)
			return a.exchange(request)
		}
		first := get(http.MethodGet, "Accept", "*/*")
		Expect(first.StatusCode).To(Equal(http.StatusOK))
		Expect(first.Header.Get("Cache-Control")).To(Equal("public, max-age=60"))
		Expect(first.ContentLength).To(BeEquivalentTo(len(first.body)))
		for header, known := range map[string]string{"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"} {
			again := get(http.MethodGet, header, first.Header.Get(known))
			Expect(again.StatusCode).To(Equal(http.StatusNotModified), header)
			Expect(again.body).To(BeEmpty())
		}
		Expect(get(http.MethodHead, "Accept", "*/*").ContentLength).To(Equal(first.ContentLength))

		r := a.post(a.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(chain[0].Raw), "reason": 4})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Eventually(ctx, func() int { return get(http.MethodGet, "If-None-Match", first.Header.Get("ETag")).StatusCode }, "10s", "50ms").Should(Equal(http.StatusOK))
	})
})
