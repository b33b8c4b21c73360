package relyingparties

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// address is the identifier of all certificates. Clients reach the servers under it.
const address = "127.0.0.1"

// issuerName is an issuer whose certificates are for servers and clients.
const issuerName = "relying"

var (
	acmeca  *local.Local
	cluster client.Client // with every right
	pki     = &authority{chains: map[string][]byte{}, keys: map[string][]byte{}}
)

// authority issues certificates through ACME, by names of the suite.
type authority struct {
	roots        []byte
	chains, keys map[string][]byte
	client       *acmeclient.Client
}

var _ = BeforeSuite(func(ctx SpecContext) {
	acmeca = suite.Start(ctx)
	cluster = acmeca.Client()
	issuer := createIssuer(ctx)
	pki.roots = []byte(issuer.Status.CABundle)
	httpClient := certificates.HTTPClient(suite.Roots(acmeca))
	suite.AwaitDirectory(ctx, httpClient, issuer.Status.DirectoryURL)
	var err error
	pki.client, err = acmeclient.New(ctx, httpClient, issuer.Status.DirectoryURL, suite.Respond(acmeca.Ports().HTTP01), 50*time.Millisecond)
	Expect(err).NotTo(HaveOccurred())

	pki.issue(ctx, "server", "good1", "revoked1")
	phases[0].crls = pki.revoke(ctx, "revoked1")
	rotate(ctx, issuer)
	pki.issue(ctx, "good2", "revoked2", "later2")
	phases[1].crls = pki.revoke(ctx, "revoked2")
	phases[2].crls = pki.revoke(ctx, "later2")
}, NodeTimeout(3*time.Minute))

var _ = suite.ShowLog(&acmeca)

func createIssuer(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuerName}}
	issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: "relying parties"}
	issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "both", Usages: []v1alpha1.Usage{v1alpha1.UsageServerAuth, v1alpha1.UsageClientAuth}}}
	issuer.Spec.Policy.IP.Allow = []string{address + "/32"}
	issuer.Spec.Validation.HTTPPort = int32(acmeca.Ports().HTTP01)
	issuer.Spec.Validation.AllowedCIDRs = []string{"127.0.0.0/8"}
	Expect(cluster.Create(ctx, issuer)).To(Succeed())
	Eventually(func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
	}, "30s", "50ms").Should(Succeed())
	return issuer
}

// rotate replaces the intermediate.
func rotate(ctx context.Context, issuer *v1alpha1.AcmeIssuer) {
	GinkgoHelper()
	before := issuer.Status.IssuingCertificate.SHA256
	patch := client.MergeFrom(issuer.DeepCopy())
	issuer.Annotations = map[string]string{v1alpha1.RotateIntermediateAnnotation: "now"}
	Expect(cluster.Patch(ctx, issuer, patch)).To(Succeed())
	Eventually(func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		g.Expect(issuer.Status.IssuingCertificate.SHA256).NotTo(Equal(before))
	}, "60s", "100ms").Should(Succeed())
}

func (a *authority) issue(ctx context.Context, names ...string) {
	GinkgoHelper()
	for _, name := range names {
		key := certificates.NewKey()
		order, err := a.client.NewOrder(ctx, address)
		Expect(err).NotTo(HaveOccurred())
		Expect(a.client.Prove(ctx, order)).To(Succeed())
		Expect(a.client.Finalize(ctx, order, key, address)).To(Succeed())
		a.chains[name], _, err = a.client.Post(ctx, order.Certificate, nil)
		Expect(err).NotTo(HaveOccurred())
		der, err := x509.MarshalPKCS8PrivateKey(key)
		Expect(err).NotTo(HaveOccurred())
		a.keys[name] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
}

// chain returns the certificate of a name, and its intermediate.
func (a *authority) chain(name string) []byte { return a.chains[name] }

func (a *authority) key(name string) []byte { return a.keys[name] }

// revoke revokes a certificate, and returns the file of all CRLs once it lists the certificate.
func (a *authority) revoke(ctx context.Context, name string) (file []byte) {
	GinkgoHelper()
	certificate := certificates.Parse(a.chains[name])[0]
	Expect(a.client.Revoke(ctx, certificate.Raw)).To(Succeed())
	Eventually(func(g Gomega) {
		file = fetchCRLs(ctx, g)
		g.Expect(serialsIn(g, file)).To(ContainElement(certificate.SerialNumber))
	}, "30s", "100ms").Should(Succeed())
	return file
}

// fetchCRLs fetches the file of all CRLs from the plain listener.
func fetchCRLs(ctx context.Context, g Gomega) []byte {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, crlsURL(), http.NoBody)
	g.Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(response.StatusCode).To(Equal(http.StatusOK), "%s", text)
	return text
}

func crlsURL() string {
	return fmt.Sprintf("http://%s/%s/%s/%s", loopback(acmeca.Ports().HTTP), local.Namespace, issuerName, acme.CRLPrefix+acme.CRLFile)
}

// serialsIn returns the serial numbers in all CRLs of a file.
func serialsIn(g Gomega, file []byte) (serials []*big.Int) {
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		g.Expect(block.Type).To(Equal("X509 CRL"))
		list, err := x509.ParseRevocationList(block.Bytes)
		g.Expect(err).NotTo(HaveOccurred())
		for _, entry := range list.RevokedCertificateEntries {
			serials = append(serials, entry.SerialNumber)
		}
	}
	return serials
}
