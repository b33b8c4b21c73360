// Package certmanager tests acmeca with the real controllers of cert-manager, on one control plane. Stand-ins replace
// the rest of a cluster: a proxy is the network (network_test.go), and solverPods is the kubelet for solver Pods
// (kubelet_test.go). Manifests and commands come from docs/guides/cert-manager.md.
package certmanager

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/named"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestCertManager(t *testing.T) { suite.Run(t, "cert-manager") }

// team is the namespace of the certificates.
const team = "team-a"

var (
	acmeca      *local.Local
	cluster     client.Client // with every right
	zone        *named.Server // corp.example, with all names at 127.0.0.1
	network     *clusterNetwork
	kubelet     *solverPods
	certManager *process.Process
	shell       *guide.Shell
)

var _ = BeforeSuite(func(ctx SpecContext) {
	if programs.Path("named") == "" {
		programs.Lack("named isn't installed: apt-get install bind9")
	}
	acmeca = suite.Start(ctx)
	cluster = acmeca.Client()

	zone = named.Start("corp.example")
	network = startNetwork()
	kubelet = startSolverPods()
	shell = newShell()
	makeNamespace(ctx, "cert-manager")
	makeNamespace(ctx, team)
	serveInCluster(ctx, "default")
	applyDefinitions(ctx)
	startCertManager("ACMEUseARI=true")
	DeferCleanup(func() { certManager.Stop(certManagerGrace) })
})

var _ = suite.ShowLog(&acmeca)

// This prints cert-manager's log after a failure.
var _ = ReportAfterEach(func(report SpecReport) {
	if !report.Failed() || acmeca == nil {
		return
	}
	text, _ := exec.Command("tail", "-n", "200", certManagerLog()).Output()
	AddReportEntry("cert-manager's log", string(text), ReportEntryVisibilityFailureOrVerbose)
	for _, kind := range []string{"clusterissuers,issuers,certificates,orders.acme.cert-manager.io,challenges", "acmeorders,acmeauthorizations"} {
		text, _ := shell.Command("kubectl get -A -o wide " + kind).CombinedOutput()
		AddReportEntry(kind, string(text), ReportEntryVisibilityFailureOrVerbose)
	}
})

// makeNamespace creates a namespace and its default ServiceAccount, which a cluster's controllers would create.
func makeNamespace(ctx SpecContext, name string) {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Name: name}
	Expect(client.IgnoreAlreadyExists(cluster.Create(ctx, &corev1.Namespace{ObjectMeta: meta}))).To(Succeed())
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "default"}}
	Expect(client.IgnoreAlreadyExists(cluster.Create(ctx, account))).To(Succeed())
}

// serveInCluster serves an issuer under the Service's name, and lets it validate names of the zone.
func serveInCluster(ctx SpecContext, name string) {
	GinkgoHelper()
	changeIssuer(ctx, name, func(spec *v1alpha1.AcmeIssuerSpec) {
		spec.ExternalURLs = []string{"https://" + serviceHost, acmeca.BaseURL()}
		spec.Validation.Resolvers = []string{zone.Address()}
		spec.Validation.HTTPPort = int32(acmeca.Ports().HTTP01)
		spec.Validation.AllowedCIDRs = []string{"127.0.0.0/8"}
	})
}

// applyDefinitions applies the CustomResourceDefinitions of the cert-manager version that runs here.
func applyDefinitions(ctx SpecContext) {
	GinkgoHelper()
	gateways := filepath.Join(moduleDir(ctx, "sigs.k8s.io/gateway-api"), "config", "crd", "standard")
	paths := []string{filepath.Join(moduleDir(ctx, "github.com/cert-manager/cert-manager"), "deploy", "crds")}
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes"} {
		paths = append(paths, filepath.Join(gateways, "gateway.networking.k8s.io_"+kind+".yaml"))
	}
	for _, path := range paths {
		Expect(path).To(Or(BeADirectory(), BeARegularFile()))
	}
	objects, err := controlplane.ReadManifests(paths...)
	Expect(err).NotTo(HaveOccurred())
	Expect(acmeca.Plane().Apply(ctx, objects...)).To(Succeed())
}

// moduleDir returns the directory of a module that the nested module hack/certmanager requires.
func moduleDir(ctx SpecContext, module string) string {
	GinkgoHelper()
	dir, err := project.ModuleDir(ctx, "certmanager", module)
	Expect(err).NotTo(HaveOccurred())
	return dir
}

func certManagerLog() string {
	return filepath.Join(filepath.Dir(acmeca.OperatorLog()), "cert-manager.log")
}

const certManagerGrace = 10 * time.Second

func startCertManager(featureGates string) {
	GinkgoHelper()
	program, err := binaries.Path("cert-manager")
	Expect(err).NotTo(HaveOccurred())
	certManager, err = process.Start(process.Spec{
		Name: "cert-manager",
		Path: program,
		Args: []string{
			"controller",
			"--healthz-listen-address", "",
			"--kubeconfig", acmeca.Kubeconfig(),
			"--cluster-resource-namespace", "cert-manager",
			"--dns01-recursive-nameservers", zone.Address(),
			"--dns01-recursive-nameservers-only",
			"--dns01-check-retry-period", "1s",
			"--certificate-request-minimum-backoff-duration", "1s",
			"--feature-gates", featureGates,
			"--enable-gateway-api",
		},
		Env: append(os.Environ(), network.environment()...),
		Log: certManagerLog(),
	})
	Expect(err).NotTo(HaveOccurred())
}
