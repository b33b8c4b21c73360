package conformance

import (
	"net/http"
	"path"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/test/controlplane"
)

// writesOf returns the API server's own count of the writes of a kind. It leaves out those that met a conflict.
func writesOf(ctx SpecContext, resource string) int {
	GinkgoHelper()
	requests, err := running.Plane().Requests(ctx)
	Expect(err).NotTo(HaveOccurred())
	return int(requests.Count(func(r controlplane.Request) bool { return r.Resource == resource && r.IsWrite() && r.Succeeded() }))
}

// finish finalizes an order that is ready, and returns its AcmeOrder once the certificate is issued.
func (a *account) finish(ctx SpecContext, o *order, values ...string) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	key := jwstest.NewKey(GinkgoTB(), "ES256")
	r := a.post(o.finalize, map[string]any{"csr": csr(key, values...)})
	Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("valid"))
	stored := &v1alpha1.AcmeOrder{}
	fetch(ctx, o.url, stored)
	return stored
}

var _ = Describe("Granted names", Ordered, func() {
	var issuer *v1alpha1.AcmeIssuer
	var team, others *account
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	grant := func() v1alpha1.Grant {
		return v1alpha1.Grant{
			Name: "team", DNS: []string{".team.svc.cluster.local", "*.apps.test", "db.test"}, Accounts: []string{path.Base(team.url)},
			Expires: &metav1.Time{Time: expires},
		}
	}
	// granting changes the grant of the team.
	granting := func(ctx SpecContext, change func(*v1alpha1.Grant)) {
		GinkgoHelper()
		g := grant()
		change(&g)
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Grants = []v1alpha1.Grant{g} })
	}
	BeforeAll(func(ctx SpecContext) {
		issuer = issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01} })
		team, others = newAccountAt(issuer), newAccountAt(issuer)
		for _, a := range []*account{team, others} {
			Expect(a.register(map[string]any{"termsOfServiceAgreed": true}).StatusCode).To(Equal(http.StatusCreated))
		}
	})
	BeforeEach(func(ctx SpecContext) { granting(ctx, func(*v1alpha1.Grant) {}) })

	It("make an order ready at creation, with valid authorizations", func(ctx SpecContext) {
		values := []string{"a.team.svc.cluster.local", "*.apps.test", "db.test"}
		o := team.newOrder(values...)
		Expect(o.document).To(HaveKeyWithValue("status", "ready"))
		Expect(o.authorize).To(HaveLen(3))
		for i, url := range o.authorize {
			document := team.post(url, nil).json()
			Expect(document).To(HaveKeyWithValue("status", "valid"))
			Expect(document).To(HaveKeyWithValue("expires", expires.UTC().Format(time.RFC3339)))
			Expect(document["identifier"]).To(HaveKeyWithValue("value", strings.TrimPrefix(values[i], "*.")))
			Expect(document["challenges"]).To(HaveEach(And(HaveKeyWithValue("status", "valid"), HaveKey("validated"))), "clients fail without any")
			Expect(document["challenges"]).NotTo(BeEmpty())
		}
		challenge := team.challenge(o.authorize[0], "http-01")
		Expect(team.post(challenge["url"].(string), map[string]any{}).json()).To(HaveKeyWithValue("status", "valid"))
		stored := team.finish(ctx, o, values...)
		Expect(stored.Spec.Grants).To(Equal([]string{"team", "team", "team"}))
		Expect(team.post(o.authorize[0], nil).json()).To(HaveKeyWithValue("status", "valid"))
		Eventually(func() []map[string]any { return auditLines("order", stored.Name) }, "5s").
			Should(ConsistOf(And(HaveKeyWithValue("msg", "certificate issued"), HaveKeyWithValue("grants", []any{"team"}))))
	})

	It("cost three writes a certificate", func(ctx SpecContext) {
		const certificates = 5
		// Orders of other specs may be written meanwhile.
		Eventually(ctx, func() []int {
			orders, authorizations := writesOf(ctx, "acmeorders"), writesOf(ctx, "acmeauthorizations")
			for range certificates {
				team.finish(ctx, team.newOrder("db.test", "a.team.svc.cluster.local"), "db.test", "a.team.svc.cluster.local")
			}
			return []int{writesOf(ctx, "acmeorders") - orders, writesOf(ctx, "acmeauthorizations") - authorizations}
		}).WithTimeout(time.Minute).Should(Equal([]int{3 * certificates, 0}))
	})

	It("are no other account's, and other names are challenged", func() {
		Expect(others.newOrder("db.test").document).To(HaveKeyWithValue("status", "pending"))
		expectProblem(others.post(others.base+"new-order", map[string]any{"identifiers": names("a.team.svc.cluster.local")}),
			http.StatusBadRequest, acme.RejectedIdentifier)
		for _, name := range []string{"x.db.test", "team.test"} {
			Expect(team.newOrder(name).document).To(HaveKeyWithValue("status", "pending"), name)
		}
		mixed := team.newOrder("db.test", "proved.test")
		Expect(mixed.document).To(HaveKeyWithValue("status", "pending"))
		Expect(team.post(mixed.authorize[0], nil).json()).To(HaveKeyWithValue("status", "valid"))
		team.prove(mixed.authorize[1])
		Eventually(func() any { return team.post(mixed.url, nil).json()["status"] }, "5s").Should(Equal("ready"))
	})

	It("are the only ones that are certified, if the issuer refuses others", func(ctx SpecContext) {
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Policy.Ungranted = v1alpha1.UngrantedRefuse })
		DeferCleanup(func(ctx SpecContext) {
			changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Policy.Ungranted = v1alpha1.UngrantedChallenge })
		})
		r := team.post(team.base+"new-order", map[string]any{"identifiers": names("x.db.test")})
		expectProblem(r, http.StatusBadRequest, acme.RejectedIdentifier)
		Expect(string(r.body)).To(ContainSubstring("certifies granted identifiers only"))
		expectProblem(others.newAuthz("dns", "y.test"), http.StatusForbidden, acme.RejectedIdentifier)
		team.finish(ctx, team.newOrder("db.test"), "db.test")
	})

	DescribeTable("end at once when the grant is taken back", func(ctx SpecContext, change func(*v1alpha1.Grant), state string) {
		o := team.newOrder("db.test")
		finished := team.newOrder("db.test")
		team.finish(ctx, finished, "db.test")
		granting(ctx, change)
		Expect(team.post(o.url, nil).json()).To(HaveKeyWithValue("status", "invalid"))
		Expect(team.post(o.authorize[0], nil).json()).To(HaveKeyWithValue("status", state))
		key := jwstest.NewKey(GinkgoTB(), "ES256")
		expectProblem(team.post(o.finalize, map[string]any{"csr": csr(key, "db.test")}), http.StatusForbidden, acme.OrderNotReady)
		stored := &v1alpha1.AcmeOrder{}
		Eventually(func() acme.State { fetch(ctx, o.url, stored); return stored.Status.State }, "10s").Should(Equal(acme.StateInvalid))
		Expect(stored.Status.Problem.Detail).To(HavePrefix(`the grant "team" does not authorize "db.test"`))
		Expect(team.post(finished.authorize[0], nil).json()).To(HaveKeyWithValue("status", state))
		Expect(team.post(finished.url, nil).json()).To(HaveKeyWithValue("status", "valid"))
		Expect(team.newOrder("db.test").document).To(HaveKeyWithValue("status", "pending"))
	},
		Entry("in whole", func(g *v1alpha1.Grant) { g.Name = "other"; g.DNS = nil }, "revoked"),
		Entry("for a name", func(g *v1alpha1.Grant) { g.DNS = []string{"other.test"} }, "revoked"),
		Entry("for an account", func(g *v1alpha1.Grant) { g.Accounts = nil }, "revoked"),
		Entry("by its end", func(g *v1alpha1.Grant) { g.Expires = &metav1.Time{Time: time.Now().Add(-time.Second)} }, "expired"),
	)

	It("end for an order by the client's deactivation", func() {
		o := team.newOrder("db.test", "*.apps.test")
		r := team.post(o.authorize[1], map[string]any{"status": "deactivated"})
		Expect(r.json()).To(HaveKeyWithValue("status", "deactivated"))
		Expect(team.post(o.url, nil).json()).To(HaveKeyWithValue("status", "invalid"))
		Expect(team.newOrder("*.apps.test").document).To(HaveKeyWithValue("status", "ready"), "the grant stays")
	})

	It("are within the issuer's policy", func(ctx SpecContext) {
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Policy.DNS.Deny = []string{"db.test"}
			spec.Policy.Rules = []v1alpha1.PolicyRule{{Expression: "!identifiers.exists(i, i.wildcard)", Message: "no wildcards"}}
		})
		DeferCleanup(func(ctx SpecContext) {
			changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Policy.DNS.Deny, spec.Policy.Rules = nil, nil })
		})
		for _, name := range []string{"db.test", "*.apps.test"} {
			expectProblem(team.post(team.base+"new-order", map[string]any{"identifiers": names(name)}), http.StatusBadRequest, acme.RejectedIdentifier)
		}
	})

	It("leave the issuer ready if one grant can't be parsed, and the condition names its field", func(ctx SpecContext) {
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Grants = append(spec.Grants, v1alpha1.Grant{Name: "bad", AllIdentifiers: true, Accounts: []string{path.Base(others.url)}, IPs: []string{"10.0.0.0/99"}})
		})
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
		Expect(ready.Reason).To(Equal(v1alpha1.ReasonDegraded))
		Expect(ready.Message).To(ContainSubstring(`a grant is ignored: spec.grants[1].ips[0]: "10.0.0.0/99" is not an address range`))
		Expect(others.newOrder("any.test").document).To(HaveKeyWithValue("status", "pending"))
		team.finish(ctx, team.newOrder("db.test"), "db.test")
	})

	It("refuse a pattern that is no pattern", func(ctx SpecContext) {
		for _, pattern := range []string{"*", ".", "", "*.*.test", "corp.test.", "UPPER.test", "a b.test"} {
			changed := issuer.DeepCopy()
			changed.Spec.Grants[0].DNS = []string{pattern}
			err := kube.Patch(ctx, changed, client.MergeFrom(issuer))
			Expect(err).To(MatchError(ContainSubstring("spec.grants[0].dns[0]")), "%q", pattern)
		}
	})
})
