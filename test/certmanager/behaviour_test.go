package certmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// These specs test requirements of cert-manager beyond the guide. cert-manager does not recover by itself from a
// server that behaves otherwise.
var _ = Describe("cert-manager", Ordered, func() {
	const clusterIssuer = "behaviour"
	BeforeAll(func(ctx SpecContext) {
		makeAcmeIssuer(ctx, clusterIssuer)
		applyClusterIssuer(ctx, clusterIssuer, "ops+certs@corp.example")
	})

	It("finds its contact unchanged, registers once, and changes the contact of the same account", func(ctx SpecContext) {
		issuer := get(ctx, "cert-manager.io/v1", "ClusterIssuer", "", clusterIssuer)
		Expect(field(issuer, "status", "acme", "lastRegisteredEmail")).To(Equal("ops+certs@corp.example"))
		accounts := accountsWith(ctx, "mailto:ops+certs@corp.example")
		Expect(accounts).To(HaveLen(1))
		uri := field(issuer, "status", "acme", "uri")

		shell.Run(ctx, `kubectl patch clusterissuer `+clusterIssuer+` --type=merge -p '{"spec":{"acme":{"email":"new@corp.example"}}}'`)
		Eventually(func(g Gomega) {
			issuer = get(ctx, "cert-manager.io/v1", "ClusterIssuer", "", clusterIssuer)
			g.Expect(field(issuer, "status", "acme", "lastRegisteredEmail")).To(Equal("new@corp.example"))
		}, "30s", "100ms").Should(Succeed())
		// The answer to the update has a Location. Without it the URL would be empty now.
		Expect(field(issuer, "status", "acme", "uri")).To(Equal(uri))
		parsed, err := url.Parse(uri)
		Expect(err).NotTo(HaveOccurred())
		Expect(parsed.Host).To(Equal(serviceHost))
		changed := accountsWith(ctx, "mailto:new@corp.example")
		Expect(changed).To(HaveLen(1))
		Expect(changed[0].Name).To(Equal(accounts[0].Name))
	}, SpecTimeout(time.Minute))

	It("waits while the AcmeIssuer is suspended, and continues by itself", func(ctx SpecContext) {
		changeIssuer(ctx, clusterIssuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Suspend = true })
		want(ctx, clusterIssuer, "suspended", "suspended.corp.example")
		// The 503 is an error that cert-manager retries, and does not end the order.
		Eventually(func(g Gomega) {
			g.Expect(certManagerOrders(ctx, "suspended")).NotTo(BeEmpty())
			text, err := os.ReadFile(certManagerLog())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(string(text)).To(ContainSubstring("503"))
		}, "60s", "100ms").Should(Succeed())
		Expect(field(&certManagerOrders(ctx, "suspended")[0], "status", "state")).To(BeEmpty())
		changeIssuer(ctx, clusterIssuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Suspend = false })
		waitForCertificates(ctx, "suspended")
	}, SpecTimeout(3*time.Minute))

	It("keeps its account when the AcmeIssuer is deleted and created again", func(ctx SpecContext) {
		accounts := accountsWith(ctx, "mailto:new@corp.example")
		Expect(accounts).To(HaveLen(1))
		Expect(cluster.Delete(ctx, acmeIssuer(ctx, clusterIssuer))).To(Succeed())
		Eventually(func() error {
			return cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: clusterIssuer}, &v1alpha1.AcmeIssuer{})
		}, "60s", "50ms").ShouldNot(Succeed())
		makeAcmeIssuer(ctx, clusterIssuer)
		want(ctx, clusterIssuer, "again", "again.corp.example")
		waitForCertificates(ctx, "again")
		certificates.Verify(secretChain(ctx, "again-tls"), trustedBy(ctx, clusterIssuer), "again.corp.example")
		now := accountsWith(ctx, "mailto:new@corp.example")
		Expect(now).To(HaveLen(1))
		Expect(now[0].UID).To(Equal(accounts[0].UID))
	}, SpecTimeout(3*time.Minute))

	It("needs no second proof if authorizations are reused", func(ctx SpecContext) {
		changeIssuer(ctx, clusterIssuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Lifetimes.ReuseAuthorizations = true })
		want(ctx, clusterIssuer, "reuse-1", "reuse.corp.example")
		waitForCertificates(ctx, "reuse-1")
		before := kubelet.count()
		want(ctx, clusterIssuer, "reuse-2", "reuse.corp.example")
		waitForCertificates(ctx, "reuse-2")
		Expect(kubelet.count()).To(Equal(before))
		first, second := suite.OrderOf(ctx, cluster, secretChain(ctx, "reuse-1-tls")[0]), suite.OrderOf(ctx, cluster, secretChain(ctx, "reuse-2-tls")[0])
		Expect(second.Spec.Authorizations).To(Equal(first.Spec.Authorizations))
	}, SpecTimeout(2*time.Minute))

	It("renews on request, as by cmctl", func(ctx SpecContext) {
		before := secretChain(ctx, "reuse-1-tls")[0]
		now := time.Now().UTC().Format(time.RFC3339)
		shell.Run(ctx, fmt.Sprintf(`kubectl -n %s patch certificate reuse-1 --subresource=status --type=json -p '[{"op":"add","path":"/status/conditions/-","value":{"type":"Issuing","status":"True","reason":"ManuallyTriggered","message":"by a test","lastTransitionTime":%q}}]'`, team, now))
		Eventually(func(g Gomega) {
			g.Expect(secretChain(ctx, "reuse-1-tls")[0].SerialNumber).NotTo(Equal(before.SerialNumber))
		}, "60s", "100ms").Should(Succeed())
	}, SpecTimeout(2*time.Minute))

	It("renews at renewBefore without ACME renewal information", func(ctx SpecContext) {
		certManager.Stop(certManagerGrace)
		startCertManager("ACMEUseARI=false")
		DeferCleanup(func() {
			certManager.Stop(certManagerGrace)
			startCertManager("ACMEUseARI=true")
		})
		want(ctx, clusterIssuer, "before", "before.corp.example")
		waitForCertificates(ctx, "before")
		first := secretChain(ctx, "before-tls")[0]
		soon := time.Until(first.NotAfter).Truncate(time.Second) - 2*time.Second
		shell.Run(ctx, fmt.Sprintf(`kubectl -n %s patch certificate before --type=merge -p '{"spec":{"renewBefore":%q}}'`, team, soon))
		Eventually(func(g Gomega) {
			g.Expect(secretChain(ctx, "before-tls")[0].SerialNumber).NotTo(Equal(first.SerialNumber))
		}, "2m", "100ms").Should(Succeed())
		deleteCertificate(ctx, "before") // otherwise cert-manager renews it again and again
	}, SpecTimeout(6*time.Minute))

	// cert-manager may order a certificate twice and obtain both. According to the source of v1.21.2 there are two
	// causes; the test has not observed which one occurs. First, the cache of Secrets may lag behind the cache of
	// Certificates: if the trigger controller does not see the new Secret, it triggers another issuance. Second, with
	// ACMEUseARI the name of an Order is a hash that includes the certificate to replace. A CertificateRequest that
	// is reconciled after the Secret is written, but before it is seen as ready, gets an Order with another name.
	// acmeca must issue once for each of these Orders.
	It("gets a hundred certificates concurrently, across a restart of acmeca", func(ctx SpecContext) {
		const count = 100
		var names []string
		for i := range count {
			name := fmt.Sprintf("many-%d", i)
			names = append(names, name)
			want(ctx, clusterIssuer, name, name+".corp.example")
		}
		Eventually(func() int { return issued(ctx, names) }, "120s", "100ms").Should(BeNumerically(">", 5))
		acmeca.KillOperator()
		Expect(acmeca.StartOperator(ctx)).To(Succeed())
		waitForCertificates(ctx, names...)
		valid := validOrders(ctx)
		for _, name := range names {
			orders := certManagerOrders(ctx, name)
			for _, order := range orders {
				Expect(field(&order, "status", "state")).To(Equal("valid"), "no order failed and was retried")
			}
			Expect(valid[name+".corp.example"]).To(Equal(len(orders)), "one certificate for each order")
			if len(orders) > 1 { // the owner shows whether both have the same CertificateRequest
				text, err := json.MarshalIndent(orders, "", "  ")
				Expect(err).NotTo(HaveOccurred())
				AddReportEntry("cert-manager ordered "+name+" again", string(text))
			}
		}
	}, SpecTimeout(8*time.Minute))
})

// makeAcmeIssuer creates an AcmeIssuer that is reachable in the cluster.
func makeAcmeIssuer(ctx SpecContext, name string) {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = local.Namespace, name
	issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: name}
	Expect(cluster.Create(ctx, issuer)).To(Succeed())
	waitUntilObserved(ctx, name)
	serveInCluster(ctx, name)
}

// applyClusterIssuer creates the ClusterIssuer of an AcmeIssuer, and waits until it has an account.
func applyClusterIssuer(ctx SpecContext, name, email string) {
	GinkgoHelper()
	object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"acme": map[string]any{
		"server":              "https://" + serviceHost + "/" + local.Namespace + "/" + name + "/acme/directory",
		"email":               email,
		"privateKeySecretRef": map[string]any{"name": name + "-account"},
		"solvers": []any{map[string]any{
			"http01":                 map[string]any{"ingress": map[string]any{"ingressClassName": "traefik"}},
			"waitInsteadOfSelfCheck": "1s",
		}},
	}}}}
	object.SetAPIVersion("cert-manager.io/v1")
	object.SetKind("ClusterIssuer")
	object.SetName(name)
	Expect(cluster.Create(ctx, object)).To(Succeed())
	shell.Run(ctx, "docs/guides/cert-manager/trust.sh clusterissuer/"+name)
	shell.Run(ctx, "kubectl wait --for=condition=Ready clusterissuer/"+name+" --timeout=60s")
}

// want requests a certificate from cert-manager.
func want(ctx context.Context, clusterIssuer, name, dnsName string) {
	GinkgoHelper()
	applyCertificate(ctx, certificate{name: name, kind: "ClusterIssuer", issuer: clusterIssuer, dnsNames: []string{dnsName}})
}

func waitForCertificates(ctx context.Context, names ...string) {
	GinkgoHelper()
	Eventually(func() int { return issued(ctx, names) }).WithContext(ctx).WithTimeout(4 * time.Minute).WithPolling(200 * time.Millisecond).
		Should(Equal(len(names)))
}

// issued counts the ready Certificates.
func issued(ctx context.Context, names []string) int {
	GinkgoHelper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("cert-manager.io/v1")
	list.SetKind("CertificateList")
	Expect(cluster.List(ctx, list, client.InNamespace(team))).To(Succeed())
	ready := map[string]bool{}
	for i := range list.Items {
		ready[list.Items[i].GetName()] = conditionIsTrue(&list.Items[i], "Ready")
	}
	count := 0
	for _, name := range names {
		if ready[name] {
			count++
		}
	}
	return count
}
