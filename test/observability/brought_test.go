package observability

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// bringCA creates an issuer with a CA under a root, and the root's CRL.
func bringCA(ctx context.Context) {
	GinkgoHelper()
	rootKey, key := certificates.NewKey(), certificates.NewKey()
	root := authority("brought root", rootKey, nil, rootKey)
	intermediate := authority("brought", key, root, rootKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, root, rootKey)
	Expect(err).NotTo(HaveOccurred())
	meta := metav1.ObjectMeta{Namespace: "acmeca-system", Name: "brought"}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	Expect(acmeca.Client().Create(ctx, &corev1.Secret{ObjectMeta: meta, Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		corev1.TLSCertKey: append(block("CERTIFICATE", intermediate.Raw), block("CERTIFICATE", root.Raw)...), corev1.TLSPrivateKeyKey: block("PRIVATE KEY", der),
	}})).To(Succeed())
	Expect(acmeca.Client().Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, BinaryData: map[string][]byte{"ca.crl": crl}})).To(Succeed())
	issuer := &v1alpha1.AcmeIssuer{ObjectMeta: meta, Spec: v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{
		SecretRef: &v1alpha1.ObjectRef{Name: "brought"}, CRLs: []v1alpha1.CRLSource{{ConfigMapRef: &v1alpha1.ObjectRef{Name: "brought"}}},
	}}}
	Expect(acmeca.Client().Create(ctx, issuer)).To(Succeed())
	Eventually(ctx, func() []metav1.Condition {
		_ = acmeca.Client().Get(ctx, kube.ObjectKeyFromObject(issuer), issuer)
		return issuer.Status.Conditions
	}).WithTimeout(20 * time.Second).Should(ContainElement(And(HaveField("Reason", v1alpha1.ReasonReady), HaveField("Message", "certificates are issued"))))
}

// authority returns a CA certificate, which is self-signed if issuer is nil.
func authority(name string, key crypto.Signer, issuer *x509.Certificate, issuerKey crypto.Signer) *x509.Certificate {
	GinkgoHelper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(9000 * time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return certificate
}
