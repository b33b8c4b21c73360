package conformance

import (
	"crypto/x509"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

var _ = Describe("An issuer that is suspended", func() {
	It("answers 503 on every route that leads to issuance, and serves all others", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		a := newAccountAt(issuer)
		Expect(a.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		url, chain, _ := a.obtain(ctx, "issued.test")
		pending, ready := a.newOrder("pending.test"), a.ready("ready.test")
		challenge := a.challenge(pending.authorize[0], "http-01")["url"].(string)
		good := issuer.Spec.DeepCopy()
		breakIssuer(ctx, issuer, a, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Suspend = true })

		directory := a.get("directory")
		Expect(directory.StatusCode).To(Equal(http.StatusOK))
		Expect(slices.Collect(maps.Keys(directory.json()))).To(ConsistOf(
			"newAccount", "newOrder", "newAuthz", "newNonce", "revokeCert", "keyChange", "renewalInfo", "meta"),
			"a new route leads to issuance, or is served")

		By("refusing temporarily the requests that lead to issuance")
		identifier := map[string]string{"type": "dns", "value": "new.test"}
		stranger := newAccountAt(issuer)
		for route, r := range map[string]*reply{
			"newAccount":                 stranger.register(map[string]any{}),
			"newAccount, as in Dogtag":   stranger.postWithKey(a.base+"new-acct", map[string]any{}),
			"newOrder":                   a.post(a.base+"new-order", map[string]any{"identifiers": []any{identifier}}),
			"newOrder, for what is held": a.post(a.base+"new-order", map[string]any{"identifiers": names("ready.test")}),
			"newAuthz":                   a.post(a.base+"new-authz", map[string]any{"identifier": identifier}),
			"a challenge":                a.post(challenge, map[string]any{}),
			"finalize":                   a.post(ready.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "ready.test")}),
		} {
			By(route)
			expectProblem(r, http.StatusServiceUnavailable, acme.ServerInternal)
			Expect(r.json()["detail"]).To(ContainSubstring("is suspended"))
			seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
			Expect(err).NotTo(HaveOccurred())
			Expect(seconds).To(BeNumerically(">", 0))
		}

		By("showing existing resources")
		for address, state := range map[string]string{a.url: "valid", pending.url: "pending", pending.authorize[0]: "pending", ready.url: "ready", ready.authorize[0]: "valid"} {
			Expect(a.post(address, nil).json()).To(HaveKeyWithValue("status", state), address)
		}
		Expect(a.post(url, nil).body).To(HavePrefix("-----BEGIN CERTIFICATE-----"))
		Expect(a.post(a.url+"/orders", nil).json()["orders"]).To(ContainElements(pending.url, ready.url))
		_, info := a.renewalInfo(certID(chain[0].Raw))
		Expect(info.StatusCode).To(Equal(http.StatusOK))

		By("letting an account change itself")
		found := a.postWithKey(a.base+"new-account", map[string]any{"onlyReturnExisting": true})
		Expect(found.StatusCode).To(Equal(http.StatusOK))
		Expect(found.Header.Get("Location")).To(Equal(a.url))
		Expect(a.post(a.url, map[string]any{"contact": []string{"mailto:a@corp.test"}}).StatusCode).To(Equal(http.StatusOK))
		next := jwstest.NewKey(GinkgoTB(), "ES256")
		change := a.post(a.base+"key-change", jsonRaw(jwstest.KeyChange(GinkgoTB(), next, a.key, a.url, a.base+"key-change")))
		Expect(change.StatusCode).To(Equal(http.StatusOK), "%s", change.body)
		a.key = next

		By("revoking, with CRL and CA certificates over plain HTTP")
		r := a.post(a.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(chain[0].Raw)})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(chain[0].CRLDistributionPoints).To(ConsistOf(HavePrefix("http://")))
		Eventually(ctx, func() []x509.RevocationListEntry {
			list, err := x509.ParseRevocationList(a.do(http.MethodGet, chain[0].CRLDistributionPoints[0], "", nil).body)
			Expect(err).NotTo(HaveOccurred())
			Expect(list.CheckSignatureFrom(chain[1])).To(Succeed())
			return list.RevokedCertificateEntries
		}, "10s", "20ms").Should(ContainElement(HaveField("SerialNumber", chain[0].SerialNumber)))
		Expect(parseDER(a.do(http.MethodGet, chain[0].IssuingCertificateURL[0], "", nil).body).Equal(chain[1])).To(BeTrue())
		page := strings.TrimSuffix(a.base, "acme/")
		Expect(string(a.do(http.MethodGet, page+"ca.crt", "", nil).body)).To(Equal(issuer.Status.CABundle))
		Expect(a.do(http.MethodGet, page, "", nil).StatusCode).To(Equal(http.StatusOK))

		By("deactivating an authorization")
		Expect(a.post(pending.authorize[0], map[string]any{"status": "deactivated"}).StatusCode).To(Equal(http.StatusOK))

		By("issuing once it is resumed")
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { *spec = *good })
		r = a.post(ready.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "ready.test")})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		a.download(ctx, ready)
	})
})
