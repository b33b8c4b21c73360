package suite

import (
	"context"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/serversecrets"
)

var _ = Describe("The ACME server's first certificate", func() {
	const name = "server-tls"
	var (
		w         *issuerWorld
		temporary *serversecrets.TemporaryCertificate
	)
	BeforeEach(func(ctx SpecContext) {
		spec := selfSigned(v1alpha1.SelfSignedCA{})
		spec.Policy.DNS.Allow = []string{"none.test"} // no host of another spec's issuer
		w = newIssuerWorld(ctx, spec)
		w.reconciler.DefaultIssuer = w.key()
		w.reconciler.ServerTLS = &serversecrets.TLSCertificate{
			Client: w.faults.client(), Secret: client.ObjectKey{Namespace: w.namespace, Name: name}, Names: []string{"localhost", "10.0.0.1"}, Clock: w.clock,
		}
		temporary = &serversecrets.TemporaryCertificate{
			TLSCertificate: w.reconciler.ServerTLS, ExternalURLs: []string{"https://acme.test:8443/base", "https://not a host"}, Clock: w.clock,
		}
	})
	stored := func(ctx SpecContext) *ca.KeyPair {
		GinkgoHelper()
		secret := w.secret(ctx, name)
		Expect(secret.Type).To(Equal(corev1.SecretTypeTLS))
		pair, err := ca.ParseKeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		Expect(err).NotTo(HaveOccurred())
		return pair
	}

	It("is self-signed before there is an issuer, so that the ACME server starts", func(ctx SpecContext) {
		Expect(temporary.Ensure(ctx)).To(Succeed())
		first := stored(ctx).Certificate
		Expect(first.CheckSignature(x509.ECDSAWithSHA256, first.RawTBSCertificate, first.Signature)).To(Succeed())
		Expect(first.IsCA).To(BeFalse())
		for _, host := range []string{"localhost", "10.0.0.1", "acme.test"} {
			Expect(first.VerifyHostname(host)).To(Succeed())
		}
		w.clock.Step(serversecrets.TLSCertificateLifetime / 2)
		Expect(temporary.Ensure(ctx)).To(Succeed())
		Expect(stored(ctx).Certificate).To(Equal(first))
		w.clock.Step(serversecrets.TLSCertificateLifetime / 2)
		Expect(temporary.Ensure(ctx)).To(Succeed())
		Expect(stored(ctx).Certificate.NotAfter).To(BeTemporally(">", w.clock.Now()))
	})

	It("is followed by one from the issuer for the same key, which the issuer's status publishes when it becomes ready", func(ctx SpecContext) {
		Expect(temporary.Ensure(ctx)).To(Succeed())
		first := stored(ctx)
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer)).To(HaveField("Reason", v1alpha1.ReasonReady))
		second := stored(ctx)
		Expect(second.Key).To(Equal(first.Key))
		chain := w.secret(ctx, name).Data[corev1.TLSCertKey]
		Expect(issuer.Status.ServerCertificate).To(Equal(string(chain)))
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM([]byte(issuer.Status.CABundle))).To(BeTrue())
		intermediates := x509.NewCertPool()
		intermediates.AppendCertsFromPEM(chain)
		_, err := second.Certificate.Verify(x509.VerifyOptions{DNSName: "acme.test", Roots: roots, Intermediates: intermediates, CurrentTime: w.clock.Now()})
		Expect(err).NotTo(HaveOccurred())

		By("leaving it alone after that")
		w.clock.Step(serversecrets.TLSCertificateLifetime - time.Hour)
		Expect(temporary.Ensure(ctx)).To(Succeed())
		Expect(stored(ctx).Certificate).To(Equal(second.Certificate))
	})

	It("keeps its key for new names, and gets another when it is renewed", func(ctx SpecContext) {
		w.reconcile(ctx)
		first := stored(ctx)
		w.reconciler.ServerTLS.Names = append(w.reconciler.ServerTLS.Names, "more.test")
		issuer := w.reconcile(ctx)
		second := stored(ctx)
		Expect(second.Certificate.DNSNames).To(ContainElement("more.test"))
		Expect(second.Key).To(Equal(first.Key))
		Expect(issuer.Status.ServerCertificate).To(ContainSubstring(string(ca.EncodeCertificates(second.Certificate))))
		w.clock.Step(serversecrets.TLSCertificateLifetime * 3 / 4)
		w.reconcile(ctx)
		Expect(stored(ctx).Key).NotTo(Equal(first.Key))
	})

	It("isn't published by issuers other than the default one", func(ctx SpecContext) {
		Expect(w.reconcile(ctx).Status.ServerCertificate).NotTo(BeEmpty())
		w.reconciler.DefaultIssuer.Name = "other"
		Expect(w.reconcile(ctx).Status.ServerCertificate).To(BeEmpty())
	})

	It("is the issuer's if both make one at the same time", func(ctx SpecContext) {
		w.reconcile(ctx)
		chain := w.secret(ctx, name).Data[corev1.TLSCertKey]
		late := *w.reconciler.ServerTLS
		late.Client = missingAtFirst{late.Client}
		Expect((&serversecrets.TemporaryCertificate{TLSCertificate: &late, Clock: w.clock}).Ensure(ctx)).To(Succeed())
		Expect(w.secret(ctx, name).Data[corev1.TLSCertKey]).To(Equal(chain))
	})
})

// missingAtFirst reads before anything exists.
type missingAtFirst struct{ client.Client }

func (c missingAtFirst) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
}
