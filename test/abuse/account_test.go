package abuse

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// problem returns the problem document of a refusal.
func problem(err error) *acmeclient.Problem {
	GinkgoHelper()
	p, ok := errors.AsType[*acmeclient.Problem](err)
	Expect(ok).To(BeTrue(), "%v", err)
	return p
}

// otherIssuer creates an issuer like the default one, with a changed spec.
func otherIssuer(ctx context.Context, name string, change func(*v1alpha1.AcmeIssuerSpec)) (directory string) {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	Expect(kube.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, issuer)).To(Succeed())
	other := &v1alpha1.AcmeIssuer{Spec: *issuer.Spec.DeepCopy()}
	other.Namespace, other.Name = local.Namespace, name
	change(&other.Spec)
	Expect(kube.Create(ctx, other)).To(Succeed())
	Eventually(ctx, func() string {
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(other), other)).To(Succeed())
		for _, c := range other.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status == "True" {
				return other.Status.DirectoryURL
			}
		}
		return ""
	}).WithTimeout(time.Minute).ShouldNot(BeEmpty())
	suite.AwaitDirectory(ctx, &http.Client{Transport: from("127.0.0.1"), Timeout: 30 * time.Second}, other.Status.DirectoryURL)
	return other.Status.DirectoryURL
}

// pendingBounds returns the bounds to test. ACMECA_LONG=1 selects the defaults of an issuer, otherwise they are
// smaller.
func pendingBounds() (orders, authorizations int) {
	if os.Getenv("ACMECA_LONG") == "1" {
		return 1000, 5000
	}
	return 100, 500
}

var _ = Describe("An account with many pending orders", func() {
	It("may have a bounded number of pending orders, is asked to retry, and may continue when some are finished", func(ctx SpecContext) {
		bound, _ := pendingBounds()
		directory := otherIssuer(ctx, "few-orders", func(s *v1alpha1.AcmeIssuerSpec) { s.Account.MaxPendingOrders = bound })
		c := accountAt(ctx, attacker, directory)
		var orders []*acmeclient.Order
		var names []string
		var refused error
		meanwhile(ctx, func() {
			for refused == nil && len(orders) < 2*bound {
				name := freshName()
				var o *acmeclient.Order
				if o, refused = c.NewOrder(ctx, name); refused == nil {
					orders, names = append(orders, o), append(names, name)
				}
			}
		})
		Expect(orders).To(HaveLen(bound))
		p := problem(refused)
		Expect(p.Status).To(Equal(http.StatusServiceUnavailable))
		Expect(p.Type).To(Equal(acme.RateLimited.URN()))
		Expect(p.RetryAfter).NotTo(BeEmpty())
		Expect(p.Detail).To(ContainSubstring("%d pending orders", bound))

		accountAt(ctx, "127.0.0.1", directory) // other accounts are not limited
		Expect(c.Prove(ctx, orders[0])).To(Succeed())
		Expect(c.Finalize(ctx, orders[0], certificates.NewKey(), names[0])).To(Succeed())
		Eventually(ctx, func() error { _, err := c.NewOrder(ctx, freshName()); return err }).WithTimeout(20 * time.Second).Should(Succeed())
	}, SpecTimeout(5*time.Minute))

	It("may have a bounded number of pending authorizations, also with few orders", func(ctx SpecContext) {
		_, bound := pendingBounds()
		directory := otherIssuer(ctx, "few-authorizations", func(s *v1alpha1.AcmeIssuerSpec) { s.Account.MaxPendingAuthorizations = bound })
		c := accountAt(ctx, attacker, directory)
		many := func(n int) []string {
			all := make([]string, n)
			for i := range all {
				all[i] = freshName()
			}
			return all
		}
		meanwhile(ctx, func() {
			for range bound/100 - 1 {
				_, err := c.NewOrder(ctx, many(100)...)
				Expect(err).NotTo(HaveOccurred())
			}
		})
		_, err := c.NewOrder(ctx, many(90)...)
		Expect(err).NotTo(HaveOccurred())
		_, err = c.NewOrder(ctx, many(11)...)
		Expect(problem(err).Type).To(Equal(acme.RateLimited.URN()))
		_, err = c.NewOrder(ctx, many(10)...)
		Expect(err).NotTo(HaveOccurred())
	}, SpecTimeout(5*time.Minute))
})

// rsaRequest is a newAccount request signed with an RSA key, whose public part can be changed.
func rsaRequest(key *rsa.PrivateKey, n, e []byte, nonce, url string) string {
	GinkgoHelper()
	encode := base64.RawURLEncoding.EncodeToString
	head, err := json.Marshal(map[string]any{
		"alg": "RS256", "nonce": nonce, "url": url, "jwk": map[string]string{"kty": "RSA", "n": encode(n), "e": encode(e)},
	})
	Expect(err).NotTo(HaveOccurred())
	h, p := encode(head), encode([]byte("{}"))
	digest := sha256.Sum256([]byte(h + "." + p))
	signature := make([]byte, len(n))
	if key != nil {
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		Expect(err).NotTo(HaveOccurred())
	}
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, h, p, encode(signature))
}

var _ = Describe("A key whose signatures are expensive to verify", func() {
	DescribeTable("is refused before verification", func(ctx SpecContext, bits, exponentBytes int) {
		h := &http.Client{Transport: from(attacker), Timeout: 30 * time.Second}
		url := acmeca.BaseURL() + "/acme/new-account"
		n := make([]byte, bits/8)
		for i := range n {
			n[i] = 0xff
		}
		e := big.NewInt(65537).Bytes()
		if exponentBytes > 0 {
			e = n[:exponentBytes]
		}
		meanwhile(ctx, func() {
			var took []time.Duration
			for range 20 {
				response, err := h.Head(acmeca.BaseURL() + "/acme/new-nonce")
				Expect(err).NotTo(HaveOccurred())
				Expect(response.Body.Close()).To(Succeed())
				body := rsaRequest(nil, n, e, response.Header.Get("Replay-Nonce"), url)
				began := time.Now()
				response, err = h.Post(url, "application/jose+json", strings.NewReader(body))
				took = append(took, time.Since(began))
				Expect(err).NotTo(HaveOccurred())
				Expect(response.Body.Close()).To(Succeed())
				Expect(response.StatusCode).To(BeElementOf(400, 413))
			}
			slices.Sort(took)
			AddReportEntry("median answer", took[len(took)/2].String())
		})
	},
		Entry("RSA with 8192 bits", 8192, 0),
		Entry("RSA with 16384 bits", 16384, 0),
		Entry("RSA with 100000 bits", 100000, 0),
		Entry("RSA with an exponent as long as the modulus", 2048, 256),
	)
})

var _ = Describe("A resource of another account", func() {
	It("is refused with 403 unauthorized, read or write (RFC 8555 section 7.1 and 10.5)", func(ctx SpecContext) {
		victim, thief := account(ctx, "127.0.0.1"), account(ctx, attacker)
		name := freshName()
		o, err := victim.NewOrder(ctx, name)
		Expect(err).NotTo(HaveOccurred())
		body, _, err := victim.Post(ctx, o.Authorizations[0], nil)
		Expect(err).NotTo(HaveOccurred())
		var authz acmeclient.Authorization
		Expect(json.Unmarshal(body, &authz)).To(Succeed())
		Expect(victim.Prove(ctx, o)).To(Succeed())
		Expect(victim.Finalize(ctx, o, certificates.NewKey(), name)).To(Succeed())
		der, err := victim.Download(ctx, o)
		Expect(err).NotTo(HaveOccurred())

		refused := func(url string, payload any) {
			GinkgoHelper()
			_, _, err := thief.Post(ctx, url, payload)
			p := problem(err)
			Expect(p.Status).To(Equal(http.StatusForbidden), "%s", p)
			Expect(p.Type).To(Equal(acme.Unauthorized.URN()), "%s", p)
		}
		for _, url := range []string{o.URL, o.Authorizations[0], authz.Challenges[0].URL, o.Certificate, victim.URL(), victim.URL() + "/orders"} {
			refused(url, nil)
		}
		refused(o.Authorizations[0], map[string]any{"status": "deactivated"})
		refused(authz.Challenges[0].URL, map[string]any{})
		refused(victim.URL(), map[string]any{"status": "deactivated"})
		refused(o.Finalize, map[string]any{"csr": "AAAA"})
		refused(thief.Directory.RevokeCert, map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(der)})
	}, SpecTimeout(2*time.Minute))
})

var _ = Describe("The existence of an account", func() {
	It("is all that a client with its URL, but without its key, learns, in every state (RFC 8555 section 6.2)", func(ctx SpecContext) {
		victim, ended, stranger := account(ctx, "127.0.0.1"), account(ctx, "127.0.0.1"), account(ctx, attacker)
		Expect(victim.Update(ctx, map[string]any{"contact": []string{"mailto:victim@abuse.test"}})).To(Succeed())
		Expect(ended.Deactivate(ctx)).To(Succeed())
		ask := func(kid string) (answer string, median time.Duration) {
			var took []time.Duration
			for range 30 {
				began := time.Now()
				answer = strings.ReplaceAll(stranger.Impersonate(ctx, kid).Error(), kid, "URL")
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			return answer, took[len(took)/2]
		}
		absent := victim.URL()[:strings.LastIndex(victim.URL(), "/")+1] + "0000000000000000000000aa"
		known, knownTime := ask(victim.URL())
		deactivated, _ := ask(ended.URL())
		unknown, unknownTime := ask(absent)
		AddReportEntry("median answers", fmt.Sprintf("existing account: %s (%s); absent account: %s (%s)", knownTime, known, unknownTime, unknown))
		Expect(deactivated).To(Equal(known))
		Expect(known).NotTo(ContainSubstring("mailto:"))
		// RFC 8555 section 6.2 requires an answer that tells whether the account exists. So the times of the two
		// answers may differ, and are only reported. A URL is a hash of the account's key.
		Expect(unknown).To(ContainSubstring("accountDoesNotExist"))
	}, SpecTimeout(2*time.Minute))
})
