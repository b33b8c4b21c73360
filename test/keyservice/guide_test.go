package keyservice

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/softhsm"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/programs"
)

const (
	guideFile = "key-service.md"
	ceremony  = "A key ceremony: an offline root, and an intermediate in the HSM"
)

var _ = Describe("The guide", Ordered, func() {
	programs.Need("softhsm2-util", "softhsm2")
	programs.Need("pkcs11-tool", "opensc")

	var shell *guide.Shell
	corp := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "corp"}}
	read := func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) *v1alpha1.AcmeIssuer {
		GinkgoHelper()
		Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		return issuer
	}
	awaitReady := func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) {
		GinkgoHelper()
		Eventually(ctx, func() bool {
			return meta.IsStatusConditionTrue(read(ctx, issuer).Status.Conditions, v1alpha1.ConditionReady)
		}).WithTimeout(90*time.Second).Should(BeTrue(), "%v", issuer.Status.Conditions)
	}
	awaitRequest := func(ctx context.Context, issuer *v1alpha1.AcmeIssuer) {
		GinkgoHelper()
		Eventually(ctx, func() *v1alpha1.ExternalStatus { return read(ctx, issuer).Status.External }).WithTimeout(time.Minute).
			Should(And(Not(BeNil()), HaveField("CertificateRequest", Not(BeEmpty()))))
	}
	// perform applies the manifests of a section, and runs its commands.
	perform := func(ctx context.Context, issuer *v1alpha1.AcmeIssuer, blocks []guide.Block, edit *strings.Replacer) {
		GinkgoHelper()
		for _, block := range blocks {
			switch text := edit.Replace(block.Text); block.Language {
			case "yaml":
				objects, err := controlplane.ParseManifests([]byte(text))
				Expect(err).NotTo(HaveOccurred())
				Expect(acmeca.Plane().Apply(ctx, objects...)).To(Succeed())
				awaitRequest(ctx, issuer)
			case "sh":
				shell.Run(ctx, text)
			}
		}
	}

	BeforeAll(func(ctx SpecContext) {
		startWithHSM(ctx)
		assets, err := binaries.Find("kubectl")
		Expect(err).NotTo(HaveOccurred())
		dir := GinkgoT().TempDir()
		(&guide.Shell{}).Run(ctx, "go build -o "+filepath.Join(dir, "kubectl-acme")+" ./cmd/kubectl-acme")
		shell = &guide.Shell{Dir: dir, Here: strings.NewReplacer("/usr/lib/libhsm.so", softhsm.Module, "--login", "--login --pin 1234"),
			Environment: append(hsm.Environment(), "KUBECONFIG="+acmeca.Kubeconfig(), "PATH="+dir+":"+assets+":"+os.Getenv("PATH"))}
		Expect(cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "pki"}})).To(Succeed())
	}, NodeTimeout(specTime))

	It("has the operator make a CA in the HSM", func(ctx SpecContext) {
		text := guide.File(guide.Section(guideFile, "A CA that the operator makes"), "yaml")
		objects, err := controlplane.ParseManifests([]byte(strings.ReplaceAll(text, "acmeca-system", "pki"))) // there is an issuer of this name
		Expect(err).NotTo(HaveOccurred())
		Expect(acmeca.Plane().Apply(ctx, objects...)).To(Succeed())
		awaitReady(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "default"}})
	}, SpecTimeout(specTime))

	It("performs the key ceremony below an offline root", func(ctx SpecContext) {
		perform(ctx, corp, guide.Section(guideFile, ceremony), strings.NewReplacer())
		awaitReady(ctx, corp)
		Expect(corp.Status.CABundle).To(Equal(string(readFile(shell.Dir, "root.pem"))))
	}, SpecTimeout(specTime))

	It("rotates the key, and the old one signs CRLs", func(ctx SpecContext) {
		By("repeating the ceremony for the next key, with a suspended issuer")
		next := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: "corp-next"}}
		old := readFile(shell.Dir, "chain.pem")
		perform(ctx, next, guide.Section(guideFile, ceremony)[1:], strings.NewReplacer("2026", "2028", "--id 01", "--id 02", "name: corp\n", "name: corp-next\n",
			"spec:\n", "spec:\n     suspend: true\n", "csr corp ", "csr corp-next ", "corp-chain ", "corp-chain-2028 ", "corp-chain}", "corp-chain-2028}", "chain.pem", "next-chain.pem")) // with the same root

		before := read(ctx, corp).Status.IssuingCertificate.SHA256
		shell.Run(ctx, guide.Commands(guide.Section(guideFile, "Rotation of such a key")))
		Eventually(ctx, func() string { return read(ctx, corp).Status.IssuingCertificate.SHA256 }).WithTimeout(90 * time.Second).ShouldNot(Equal(before))
		awaitReady(ctx, corp)
		Expect(certificates.Parse([]byte(corp.Status.RetiredCertificates))[0].Equal(certificates.Parse(old)[0])).To(BeTrue())
	}, SpecTimeout(specTime))
})

func readFile(dir, name string) []byte {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	Expect(err).NotTo(HaveOccurred())
	return text
}
