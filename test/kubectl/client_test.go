package kubectl

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/crypto/acme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	acmevocabulary "github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var made atomic.Int32

// fresh returns a name that no other spec uses.
func fresh(prefix string) string { return fmt.Sprintf("%s-%d", prefix, made.Add(1)) }

// get fetches an object of the operator's namespace.
func get[T any, O interface {
	*T
	client.Object
}](ctx context.Context, name string) O {
	GinkgoHelper()
	object := O(new(T))
	Expect(kube.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, object)).To(Succeed())
	return object
}

func defaultIssuer(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	return get[v1alpha1.AcmeIssuer](ctx, "default")
}

// newIssuer creates an issuer in a new namespace, like the default one with changes, and waits until it is ready.
func newIssuer(ctx context.Context, change func(*v1alpha1.AcmeIssuerSpec)) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	return issuerNamed(ctx, "ca", change)
}

func issuerNamed(ctx context.Context, name string, change func(*v1alpha1.AcmeIssuerSpec)) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(ctx), Name: name}}
	defaultIssuer(ctx).Spec.DeepCopyInto(&issuer.Spec)
	change(&issuer.Spec)
	Expect(kube.Create(ctx, issuer)).To(Succeed())
	Eventually(ctx, func(g Gomega) {
		g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		g.Expect(issuer.Status.DirectoryURL).NotTo(BeEmpty())
	}).WithTimeout(patience).Should(Succeed())
	suite.AwaitDirectory(ctx, certificates.HTTPClient(suite.Roots(acmeca)), issuer.Status.DirectoryURL)
	return issuer
}

func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	name := fresh("team")
	run(ctx, "kubectl", "create", "namespace", name)
	return name
}

// newClient returns an unregistered ACME client of an issuer, which trusts the ACME server.
func newClient(issuer *v1alpha1.AcmeIssuer) *acme.Client {
	GinkgoHelper()
	return &acme.Client{
		Key: certificates.NewKey(), DirectoryURL: issuer.Status.DirectoryURL,
		HTTPClient:   certificates.HTTPClient(suite.Roots(acmeca)),
		RetryBackoff: func(int, *http.Request, *http.Response) time.Duration { return -1 }, // the specs expect refusals
	}
}

// registered returns a client with an account.
func registered(ctx context.Context, issuer *v1alpha1.AcmeIssuer) *acme.Client {
	GinkgoHelper()
	c := newClient(issuer)
	var account *acme.Account
	Eventually(ctx, func() (err error) { // the ACME server may not know a new issuer yet
		account, err = c.Register(ctx, &acme.Account{Contact: []string{"mailto:admin@client.test"}}, acme.AcceptTOS)
		return err
	}).WithTimeout(patience).Should(Succeed())
	Expect(account.URI).NotTo(BeEmpty())
	return c
}

// order creates an order for names.
func order(ctx context.Context, c *acme.Client, names ...string) *acme.Order {
	GinkgoHelper()
	order, err := c.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	Expect(err).NotTo(HaveOccurred())
	return order
}

// nameOf returns the name of the object behind a URL.
func nameOf(url string) string { return path.Base(url) }

// answer accepts the http-01 challenges of an order. content replaces the correct answer unless it is "".
func answer(ctx context.Context, c *acme.Client, order *acme.Order, content string) {
	GinkgoHelper()
	for _, url := range order.AuthzURLs {
		authorization, err := c.GetAuthorization(ctx, url)
		Expect(err).NotTo(HaveOccurred())
		for _, challenge := range authorization.Challenges {
			if challenge.Type != string(acmevocabulary.HTTP01) {
				continue
			}
			response, err := c.HTTP01ChallengeResponse(challenge.Token)
			Expect(err).NotTo(HaveOccurred())
			if content != "" {
				response = content
			}
			responder.Put(challenge.Token, response)
			_, err = c.Accept(ctx, challenge)
			Expect(err).NotTo(HaveOccurred())
		}
	}
}

// issue obtains a certificate, and returns the order's name and the chain.
func issue(ctx context.Context, c *acme.Client, names ...string) (string, []*x509.Certificate) {
	GinkgoHelper()
	o := order(ctx, c, names...)
	answer(ctx, c, o, "")
	ready, err := c.WaitOrder(ctx, o.URI)
	Expect(err).NotTo(HaveOccurred())
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, certificates.NewKey())
	Expect(err).NotTo(HaveOccurred())
	ders, _, err := c.CreateOrderCert(ctx, ready.FinalizeURL, csr, true)
	Expect(err).NotTo(HaveOccurred())
	return nameOf(o.URI), certificates.ParseDER(ders...)
}

// renewalOf returns the renewal information of a certificate (RFC 9773).
func renewalOf(ctx context.Context, issuer *v1alpha1.AcmeIssuer, certificate *x509.Certificate) acmez.RenewalInfo {
	GinkgoHelper()
	c := acmez.Client{Directory: issuer.Status.DirectoryURL, HTTPClient: newClient(issuer).HTTPClient}
	info, err := c.GetRenewalInfo(ctx, certificate)
	Expect(err).NotTo(HaveOccurred())
	return info
}
