// Package keyservice tests CAs in a PKCS#11 token: SoftHSM, with certbot and with the commands of the guide.
package keyservice

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/softhsm"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestKeyService(t *testing.T) { suite.Run(t, "Key service") }

// specTime bounds a spec, with the start of its acmeca, on a busy machine.
const specTime = 10 * time.Minute

var (
	acmeca  *local.Local
	cluster client.Client
	hsm     *softhsm.HSM
)

var _ = suite.ShowLog(&acmeca)

// reasonsOfOrders returns the reasons in the conditions of all orders.
func reasonsOfOrders(ctx context.Context) (reasons []string) {
	GinkgoHelper()
	var orders v1alpha1.AcmeOrderList
	Expect(cluster.List(ctx, &orders, client.InNamespace(local.Namespace))).To(Succeed())
	for _, order := range orders.Items {
		for _, c := range order.Status.Conditions {
			reasons = append(reasons, c.Reason)
		}
	}
	return reasons
}

// startWithHSM starts an HSM, and acmeca with the key service in front of it.
func startWithHSM(ctx context.Context) {
	GinkgoHelper()
	var err error
	hsm, err = softhsm.New(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(hsm.Close)
	Eventually(ctx, hsm.Ping).WithTimeout(time.Minute).Should(Succeed())
	acmeca = suite.Start(ctx, "--key-service", hsm.Socket)
	cluster = acmeca.Client()
}

var _ = Describe("certbot at an issuer whose keys are in SoftHSM", Ordered, func() {
	programs.Need("certbot", "certbot")
	programs.Need("softhsm2-util", "softhsm2")

	var dir, bundle string
	issuer := &v1alpha1.AcmeIssuer{}
	certbot := func(ctx context.Context, args ...string) {
		GinkgoHelper()
		directory := strings.Replace(acmeca.DirectoryURL(), "/acme/directory", "/"+local.Namespace+"/hsm/acme/directory", 1)
		args = append(args, "--non-interactive", "--server", directory, "--config-dir", dir, "--work-dir", dir, "--logs-dir", filepath.Join(dir, "logs"))
		programs.Run(ctx, []string{"REQUESTS_CA_BUNDLE=" + acmeca.CAFile()}, "certbot", args...)
	}
	obtain := func(ctx context.Context, name string) []*x509.Certificate {
		GinkgoHelper()
		certbot(ctx, "certonly", "--agree-tos", "--register-unsafely-without-email", "--standalone",
			"--http-01-port", strconv.Itoa(acmeca.Ports().HTTP01), "-d", name)
		chain := filepath.Join(dir, "live", name, "fullchain.pem")
		programs.Run(ctx, nil, "openssl", "verify", "-CAfile", bundle, "-untrusted", chain, "-purpose", "sslserver", "-x509_strict", chain)
		return certificates.Read(chain)
	}
	ready := func(ctx context.Context) bool {
		Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		return meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady)
	}

	BeforeAll(func(ctx SpecContext) {
		startWithHSM(ctx)
		like := &v1alpha1.AcmeIssuer{}
		Expect(cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, like)).To(Succeed())
		issuer.Namespace, issuer.Name, issuer.Spec = local.Namespace, "hsm", like.Spec
		issuer.Spec.CA = v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{KeyStore: v1alpha1.KeyStoreKeyService}}
		Expect(cluster.Create(ctx, issuer)).To(Succeed())
		Eventually(ctx, ready).WithTimeout(time.Minute).Should(BeTrue())
		dir = GinkgoT().TempDir()
		bundle = filepath.Join(dir, "bundle.pem")
		Expect(os.WriteFile(bundle, []byte(issuer.Status.CABundle), 0o600)).To(Succeed())
	}, NodeTimeout(specTime))

	It("gets a certificate, and revokes it", func(ctx SpecContext) {
		leaf := obtain(ctx, "hsm.test")[0]
		certbot(ctx, "revoke", "--cert-name", "hsm.test", "--no-delete-after-revoke", "--reason", "superseded")
		Eventually(ctx, func() any { order := suite.OrderOf(ctx, cluster, leaf); return order.Status.RevokedAt }).WithTimeout(time.Minute).ShouldNot(BeNil())
	}, SpecTimeout(specTime))

	It("gets one from the next intermediate", func(ctx SpecContext) {
		before := obtain(ctx, "before.test")
		Expect(ready(ctx)).To(BeTrue())
		issuer.Annotations = map[string]string{v1alpha1.RotateIntermediateAnnotation: "now"}
		Expect(cluster.Update(ctx, issuer)).To(Succeed())
		Eventually(ctx, func() bool { return ready(ctx) && issuer.Status.RetiredCertificates != "" }).WithTimeout(time.Minute).Should(BeTrue())
		Expect(obtain(ctx, "after.test")[1].Equal(before[1])).To(BeFalse())
	}, SpecTimeout(specTime))

	It("waits while the token is away, and gets its certificate when it is given back", func(ctx SpecContext) {
		Expect(hsm.Take()).To(Succeed())
		obtained := make(chan struct{})
		go func() {
			defer GinkgoRecover()
			defer close(obtained)
			obtain(ctx, "away.test")
		}()
		Eventually(ctx, reasonsOfOrders).WithTimeout(time.Minute).Should(ContainElement(v1alpha1.ReasonKeyServiceUnavailable))
		Expect(hsm.GiveBack()).To(Succeed())
		Eventually(ctx, obtained).WithTimeout(2 * time.Minute).Should(BeClosed())
	}, SpecTimeout(specTime))
})
