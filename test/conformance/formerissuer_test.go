package conformance

import (
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/test/internal/programs"
)

var _ = Describe("An issuer that was deleted", func() {
	var issuer *v1alpha1.AcmeIssuer
	var a *account
	var revoked, kept []*x509.Certificate
	// begin makes an issuer issue two certificates, and revokes one.
	begin := func(ctx SpecContext, edit func(*v1alpha1.AcmeIssuerSpec)) {
		GinkgoHelper()
		issuer = issuerLike(ctx, edit)
		a = newAccountAt(issuer)
		Expect(a.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated))
		_, revoked, _ = a.obtain(ctx, "revoked.test")
		_, kept, _ = a.obtain(ctx, "kept.test")
		r := a.post(a.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(revoked[0].Raw)})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	}
	// deleted waits until the issuer is deleted, and the ACME server knows.
	deleted := func(ctx SpecContext) {
		GinkgoHelper()
		Expect(kube.Delete(ctx, issuer)).To(Succeed())
		Eventually(ctx, func() bool {
			return apierrors.IsNotFound(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer.DeepCopy()))
		}, "30s", "50ms").Should(BeTrue())
		Eventually(ctx, func() int { return a.get("directory").StatusCode }, "20s", "50ms").Should(Equal(http.StatusNotFound))
	}
	fetch := func(url string) *reply {
		GinkgoHelper()
		return a.do(http.MethodGet, url, "", nil)
	}

	It("keeps its CRLs and CA certificates at the URLs in its certificates, over plain HTTP (RFC 5280 section 8)", func(ctx SpecContext) {
		begin(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		bundle := issuer.Status.CABundle
		deleted(ctx)
		for _, chain := range [][]*x509.Certificate{revoked, kept} {
			Expect(chain[0].CRLDistributionPoints).To(ConsistOf(HavePrefix("http://")))
			r := fetch(chain[0].CRLDistributionPoints[0])
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
			Expect(r.Header.Get("Content-Type")).To(Equal("application/pkix-crl"))
			crl, err := x509.ParseRevocationList(r.body)
			Expect(err).NotTo(HaveOccurred())
			Expect(crl.CheckSignatureFrom(chain[1])).To(Succeed())
			Expect(crl.NextUpdate).To(BeTemporally(">=", chain[0].NotAfter), "the last CRL")
			listed := ContainElement(HaveField("SerialNumber", chain[0].SerialNumber))
			if chain[0].Equal(kept[0]) {
				listed = Not(listed)
			}
			Expect(crl.RevokedCertificateEntries).To(listed)

			Expect(chain[0].IssuingCertificateURL).To(ConsistOf(HavePrefix("http://")))
			r = fetch(chain[0].IssuingCertificateURL[0])
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
			Expect(r.Header.Get("Content-Type")).To(Equal("application/pkix-cert"))
			Expect(parseDER(r.body).Equal(chain[1])).To(BeTrue())
		}
		plain := kept[0].CRLDistributionPoints[0][:strings.Index(kept[0].CRLDistributionPoints[0], "/crl/")]
		for _, base := range []string{plain, strings.TrimSuffix(a.base, "/acme/")} {
			Expect(string(fetch(base + "/ca.crt").body)).To(Equal(bundle))
			Expect(parseDER(fetch(base + "/ca.der").body).Equal(kept[1])).To(BeTrue())
			Expect(fetch(base + "/crl/0123456789-0.crl").StatusCode).To(Equal(http.StatusNotFound))
			Expect(fetch(base + "x/ca.crt").StatusCode).To(Equal(http.StatusNotFound))
		}
	})

	It("removes its Secrets and ConfigMaps if its policy says so, and nothing else", func(ctx SpecContext) {
		stop, err := running.Plane().StartControllers(controlplane.GarbageCollector)
		if err != nil {
			programs.Lack(err.Error())
		}
		DeferCleanup(stop)
		begin(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.DeletionPolicy = v1alpha1.DeletionDelete })
		own := func(list client.ObjectList) client.ObjectList {
			GinkgoHelper()
			Expect(kube.List(ctx, list, client.InNamespace(issuer.Namespace), client.MatchingLabels{v1alpha1.IssuerLabel: issuer.Name})).To(Succeed())
			return list
		}
		secrets := func() []corev1.Secret { return own(&corev1.SecretList{}).(*corev1.SecretList).Items }
		configMaps := func() []corev1.ConfigMap { return own(&corev1.ConfigMapList{}).(*corev1.ConfigMapList).Items }
		Expect(secrets()).To(HaveLen(3), "root, intermediate and serial key")
		Expect(configMaps()).To(HaveLen(3+issuer.Spec.CRL.Shards), "trust bundle, complete CRLs of root and intermediate, and shards")
		mine := &corev1.Secret{}
		mine.Namespace, mine.Name = issuer.Namespace, issuer.Name+"-mine"
		Expect(kube.Create(ctx, mine)).To(Succeed())

		deleted(ctx)
		Eventually(ctx, secrets, "1m", "100ms").Should(BeEmpty())
		Eventually(ctx, configMaps, "1m", "100ms").Should(BeEmpty())
		Eventually(ctx, func() int { return fetch(kept[0].CRLDistributionPoints[0]).StatusCode }, "30s", "100ms").Should(Equal(http.StatusNotFound))
		Expect(fetch(kept[0].IssuingCertificateURL[0]).StatusCode).To(Equal(http.StatusNotFound))
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(mine), mine)).To(Succeed(), "it belongs to a person")
		var accounts v1alpha1.AcmeAccountList
		Expect(kube.List(ctx, &accounts, client.InNamespace(issuer.Namespace))).To(Succeed())
		Expect(accounts.Items).To(ContainElement(HaveField("Spec.IssuerRef.Name", issuer.Name)), "accounts outlive every issuer")
	})
})
