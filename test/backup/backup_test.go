// Package backup runs the commands of docs/guides/backup-and-restore.md, and checks that the restored CA equals the
// one in the backup.
package backup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestBackup(t *testing.T) { suite.Run(t, "Backup") }

// commands returns the shell commands of a section of the guide.
func commands(section string) string {
	GinkgoHelper()
	return guide.Commands(guide.Section("backup-and-restore.md", section))
}

// run runs a script as a person with a kubeconfig does.
func run(ctx context.Context, dir, kubeconfig, script string) {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	shell := exec.CommandContext(ctx, "sh", "-eu")
	shell.Dir, shell.Stdin = dir, strings.NewReader(script)
	shell.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "NAMESPACE="+local.Namespace, "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	output, err := shell.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", script, output)
}

func start(ctx context.Context, dir, operator string, ports local.Ports) *local.Local {
	GinkgoHelper()
	acmeca, err := local.Start(ctx, local.Options{Dir: dir, Operator: operator, Ports: ports, UnsafeNoFsync: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(acmeca.Stop)
	return acmeca
}

// statuses returns the status of all objects of clients, without observed generations, which belong to a cluster.
func statuses(ctx context.Context, cluster client.Client) map[string]string {
	GinkgoHelper()
	found := map[string]string{}
	note := func(kind, name string, status any) {
		text, err := json.Marshal(status)
		Expect(err).NotTo(HaveOccurred())
		found[kind+" "+name] = regexp.MustCompile(`"observedGeneration":\d+,?`).ReplaceAllString(string(text), "")
	}
	var accounts v1alpha1.AcmeAccountList
	var authorizations v1alpha1.AcmeAuthorizationList
	var orders v1alpha1.AcmeOrderList
	Expect(cluster.List(ctx, &accounts)).To(Succeed())
	Expect(cluster.List(ctx, &authorizations)).To(Succeed())
	Expect(cluster.List(ctx, &orders)).To(Succeed())
	for _, o := range accounts.Items {
		note("account", o.Name, o.Status)
	}
	for _, o := range authorizations.Items {
		note("authorization", o.Name, o.Status)
	}
	for _, o := range orders.Items {
		note("order", o.Name, o.Status)
	}
	return found
}

// secrets returns the keys of the CA as stored.
func secrets(ctx context.Context, cluster client.Client) map[string]map[string][]byte {
	GinkgoHelper()
	var list corev1.SecretList
	Expect(cluster.List(ctx, &list, client.InNamespace(local.Namespace), client.HasLabels{"acmeca.dev/issuer"})).To(Succeed())
	found := map[string]map[string][]byte{}
	for _, s := range list.Items {
		found[s.Name] = s.Data
	}
	return found
}

// A user is an ACME client that does not notice the CA's failure.
type user struct {
	acmez.Client
	account acme.Account
	roots   *x509.CertPool
}

func newUser(acmeca *local.Local, solver acmez.Solver) *user {
	GinkgoHelper()
	roots, key := suite.Roots(acmeca), certificates.NewKey()
	return &user{roots: roots, account: acme.Account{TermsOfServiceAgreed: true, Contact: []string{"mailto:ops@backup.test"}, PrivateKey: key}, Client: acmez.Client{
		Client: &acme.Client{
			Directory:  acmeca.DirectoryURL(),
			HTTPClient: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}},
		},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: solver},
	}}
}

// obtain obtains a certificate, which replaces the given one, if any.
func (u *user) obtain(ctx context.Context, name string, replaces *x509.Certificate) *x509.Certificate {
	GinkgoHelper()
	csr, err := acmez.NewCSR(certificates.NewKey(), []string{name})
	Expect(err).NotTo(HaveOccurred())
	params, err := acmez.OrderParametersFromCSR(u.account, csr)
	Expect(err).NotTo(HaveOccurred())
	params.Replaces = replaces
	chains, err := u.ObtainCertificate(ctx, params)
	Expect(err).NotTo(HaveOccurred())
	chain := certificates.Parse(chains[0].ChainPEM)
	certificates.Verify(chain, u.roots, name)
	return chain[0]
}

// revoked returns the serial numbers in the CRL of a certificate, and the CRL's number.
func revoked(ctx context.Context, certificate *x509.Certificate) (serials []string, number string) {
	GinkgoHelper()
	serials, number, err := listed(ctx, certificate)
	Expect(err).NotTo(HaveOccurred())
	return serials, number
}

func listed(ctx context.Context, certificate *x509.Certificate) (serials []string, number string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, certificate.CRLDistributionPoints[0], nil)
	if err != nil {
		return nil, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	der, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, "", err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s", err, der)
	}
	for _, entry := range list.RevokedCertificateEntries {
		serials = append(serials, serial(entry.SerialNumber.Bytes()))
	}
	return serials, list.Number.String(), nil
}

func serial(number []byte) string { return hex.EncodeToString(number) }

var _ = Describe("A backup", func() {
	It("brings the CA, its clients and its revocations to an empty cluster", func(ctx SpecContext) {
		if programs.Path("jq") == "" {
			programs.Lack("jq isn't installed: apt-get install jq")
		}
		operator := filepath.Join(GinkgoT().TempDir(), "acmeca")
		ports, err := local.FreePorts()
		Expect(err).NotTo(HaveOccurred())
		Expect(local.BuildOperator(ctx, operator)).To(Succeed())
		responder := suite.Respond(ports.HTTP01)
		backup := GinkgoT().TempDir()

		By("issuing, revoking, and deleting a revoked order")
		before := start(ctx, GinkgoT().TempDir(), operator, ports)
		cluster := before.Client()
		u := newUser(before, responder)
		u.account, err = u.NewAccount(ctx, u.account)
		Expect(err).NotTo(HaveOccurred())
		kept, bad, gone := u.obtain(ctx, "kept.backup.test", nil), u.obtain(ctx, "bad.backup.test", nil), u.obtain(ctx, "gone.backup.test", nil)
		for _, certificate := range []*x509.Certificate{bad, gone} {
			Expect(u.RevokeCertificate(ctx, u.account, certificate, nil, acme.ReasonSuperseded)).To(Succeed())
			Eventually(ctx, func() []string { serials, _ := revoked(ctx, certificate); return serials }).WithTimeout(20 * time.Second).
				Should(ContainElement(serial(certificate.SerialNumber.Bytes())))
		}
		deleteOrderOf(ctx, cluster, gone)
		_, number := revoked(ctx, bad)
		stored, keys := statuses(ctx, cluster), secrets(ctx, cluster)
		Expect(stored).To(HaveLen(1 + 3 + 2))
		authority, err := os.ReadFile(before.CAFile())
		Expect(err).NotTo(HaveOccurred())

		By("backing up")
		run(ctx, backup, before.Kubeconfig(), commands("Back up"))
		before.Stop()

		By("restoring into an empty cluster")
		dir := GinkgoT().TempDir()
		plane, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, UnsafeNoFsync: true})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(plane.Stop)
		Expect(plane.ApplyProject(ctx, "config/crd/bases")).To(Succeed())
		kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		Expect(plane.WriteKubeconfig(kubeconfig)).To(Succeed())
		run(ctx, backup, kubeconfig, commands("Restore"))
		plane.Stop()

		By("continuing in the new cluster")
		after := start(ctx, dir, operator, ports)
		cluster = after.Client()
		Expect(os.ReadFile(after.CAFile())).To(Equal(authority))
		Expect(secrets(ctx, cluster)).To(Equal(keys))
		for name, status := range statuses(ctx, cluster) {
			Expect(status).To(Equal(stored[name]), name)
		}
		Expect(statuses(ctx, cluster)).To(HaveLen(len(stored)))

		for _, certificate := range []*x509.Certificate{bad, gone} {
			serials, _ := revoked(ctx, certificate)
			Expect(serials).To(ContainElement(serial(certificate.SerialNumber.Bytes())))
		}
		again, err := u.GetAccount(ctx, u.account)
		Expect(err).NotTo(HaveOccurred())
		Expect(again.Location).To(Equal(u.account.Location))
		Expect(again.Contact).To(Equal(u.account.Contact))
		renewed := u.obtain(ctx, "kept.backup.test", kept)
		Expect(renewed.AuthorityKeyId).To(Equal(kept.AuthorityKeyId))
		Expect(renewed.SerialNumber).NotTo(Equal(kept.SerialNumber))

		By("revoking a certificate from before the backup")
		Expect(u.RevokeCertificate(ctx, u.account, kept, nil, acme.ReasonSuperseded)).To(Succeed())
		Eventually(ctx, func() []string { serials, _ := revoked(ctx, kept); return serials }).WithTimeout(20 * time.Second).
			Should(ContainElement(serial(kept.SerialNumber.Bytes())))
		_, now := revoked(ctx, bad)
		Expect(len(now) > len(number) || now >= number).To(BeTrue(), fmt.Sprintf("CRL number %s after %s", now, number))
	}, SpecTimeout(3*time.Minute))
})

func deleteOrderOf(ctx context.Context, cluster client.Client, certificate *x509.Certificate) {
	GinkgoHelper()
	order := suite.OrderOf(ctx, cluster, certificate)
	Expect(cluster.Delete(ctx, &order)).To(Succeed())
	Eventually(ctx, func() error { return cluster.Get(ctx, client.ObjectKeyFromObject(&order), &order) }).WithTimeout(20 * time.Second).ShouldNot(Succeed())
}
