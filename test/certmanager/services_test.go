package certmanager

import (
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/suite"
)

const servicesGuide = "cert-manager-services.md"

var _ = Describe("The guide to Services", Ordered, func() {
	names := []string{"api.team-a.svc", "api.team-a.svc.cluster.local", "*.db.team-a.svc.cluster.local"}
	followed := map[string]bool{}
	services := func(ctx SpecContext, heading string) string {
		GinkgoHelper()
		followed[heading] = true
		return shell.Run(ctx, guide.Commands(guide.Section(servicesGuide, heading)))
	}
	// withoutChallenge checks a certificate of the team, which needed no Challenge.
	withoutChallenge := func(ctx SpecContext) *x509.Certificate {
		GinkgoHelper()
		chain := secretChain(ctx, "api-tls")
		certificates.Verify(chain, trustedBy(ctx, "services"), names...)
		Expect(suite.OrderOf(ctx, cluster, chain[0]).Spec.Grants).To(Equal([]string{"team-a", "team-a", "team-a"}))
		challenges := &unstructured.UnstructuredList{}
		challenges.SetAPIVersion("acme.cert-manager.io/v1")
		challenges.SetKind("ChallengeList")
		Expect(cluster.List(ctx, challenges, client.InNamespace(team))).To(Succeed())
		for _, challenge := range challenges.Items {
			Expect(field(&challenge, "spec", "issuerRef", "name")).NotTo(Equal("services"))
		}
		return chain[0]
	}

	It("grants names in a file of their own", func(ctx SpecContext) {
		services(ctx, "The platform team: an issuer and a grant")
		changeIssuer(ctx, "services", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.ExternalURLs = []string{"https://" + serviceHost, acmeca.BaseURL()}
		})
		Expect(acmeIssuer(ctx, "services").Spec.Grants).To(HaveLen(1))
		Expect(acmeIssuer(ctx, "services").Spec.CA.SelfSigned.CommonName).To(Equal("Corp Services CA"))
		services(ctx, "A key for the team")
	}, SpecTimeout(2*time.Minute))

	It("obtains and renews a certificate for a Service, without a solver", func(ctx SpecContext) {
		buildPlugin(ctx)
		Expect(services(ctx, "The team: an Issuer without solvers")).To(ContainSubstring("granted by"))
		first := withoutChallenge(ctx)
		// cmctl renew sets this condition.
		shell.Run(ctx, `kubectl -n team-a get certificate api -o json | sed 's/"conditions": \[/"conditions": [{"type":"Issuing","status":"True","reason":"ManuallyTriggered","message":"renew","lastTransitionTime":"2026-01-01T00:00:00Z"},/' | kubectl replace --subresource=status -f -`)
		Eventually(func(g Gomega) {
			g.Expect(secretChain(ctx, "api-tls")[0].SerialNumber).NotTo(Equal(first.SerialNumber))
		}, "60s", "200ms").Should(Succeed())
		withoutChallenge(ctx)
	}, SpecTimeout(3*time.Minute))

	It("takes a grant back, and revokes the certificates", func(ctx SpecContext) {
		buildPlugin(ctx)
		services(ctx, "Take a grant back")
		Expect(suite.OrderOf(ctx, cluster, secretChain(ctx, "api-tls")[0]).Status.RevokedAt).NotTo(BeNil())
		applyCertificate(ctx, certificate{name: "late", issuer: "services", kind: "Issuer", dnsNames: []string{"late.team-a.svc"}})
		Eventually(func(g Gomega) {
			orders := certManagerOrders(ctx, "late")
			g.Expect(orders).NotTo(BeEmpty())
			g.Expect(field(&orders[0], "status", "state")).To(Equal("errored"))
			g.Expect(field(&orders[0], "status", "reason")).To(ContainSubstring("rejectedIdentifier"))
		}, "60s", "100ms").Should(Succeed())
		deleteCertificate(ctx, "late")
		deleteCertificate(ctx, "api")
	}, SpecTimeout(3*time.Minute))

	It("has a spec for each command", func() {
		for _, heading := range guide.Headings(servicesGuide) {
			Expect(followed).To(HaveKey(heading))
		}
	})
})
