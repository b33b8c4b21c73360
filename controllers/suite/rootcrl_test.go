package suite

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// lookAll reconciles all CRLs of the issuer.
func (w *crlWorld) lookAll(ctx context.Context) {
	GinkgoHelper()
	w.clock.Step(2 * time.Second)
	for _, name := range w.loaded().CRLs() {
		_, err := w.lists.Reconcile(ctx, issuers.CRLRequest{Namespace: w.namespace, Issuer: "ca", Name: name})
		Expect(err).NotTo(HaveOccurred())
	}
}

// settle reconciles the issuer and its CRLs, in a controller with empty memory.
func (w *crlWorld) settle(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	w.restart()
	w.reconcile(ctx)
	w.restartLists()
	w.lookAll(ctx)
	return w.reconcile(ctx) // which shows the warnings of CRLs
}

// crlBy returns the published complete CRL of a CA certificate, after it verified the signature.
func (w *issuerWorld) crlBy(ctx context.Context, authority *x509.Certificate) *x509.RevocationList {
	GinkgoHelper()
	configMap := &corev1.ConfigMap{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: v1alpha1.CRLConfigMap("ca", v1alpha1.CAName(authority))}, configMap)).To(Succeed())
	Expect(configMap.Labels).To(HaveKeyWithValue(v1alpha1.IssuerLabel, "ca"))
	list, err := x509.ParseRevocationList(configMap.BinaryData[v1alpha1.CRLField])
	Expect(err).NotTo(HaveOccurred())
	Expect(list.CheckSignatureFrom(authority)).To(Succeed())
	return list
}

// openssl verifies a chain with -crl_check_all, and returns the output of openssl. The CRLs are those of the issuers of all
// certificates in the chain.
func (w *issuerWorld) openssl(ctx context.Context, chain []*x509.Certificate, root *x509.Certificate) string {
	GinkgoHelper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		Skip("openssl is not installed")
	}
	var crls []byte
	for _, authority := range append(slices.Clone(chain[1:]), root) {
		crls = append(crls, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: w.crlBy(ctx, authority).Raw})...)
	}
	dir := GinkgoT().TempDir()
	for file, content := range map[string][]byte{
		"root.pem": ca.EncodeCertificates(root), "chain.pem": ca.EncodeCertificates(chain[1:]...), "leaf.pem": ca.EncodeCertificates(chain[0]), "crls.pem": crls,
	} {
		Expect(os.WriteFile(filepath.Join(dir, file), content, 0o600)).To(Succeed())
	}
	command := exec.CommandContext(ctx, program, "verify", "-x509_strict", "-crl_check_all", "-attime", fmt.Sprint(w.clock.Now().Unix()),
		"-CAfile", "root.pem", "-untrusted", "chain.pem", "-CRLfile", "crls.pem", "leaf.pem")
	command.Dir = dir
	output, _ := command.CombinedOutput() // the words say more than the exit code
	return string(output)
}

func (w *issuerWorld) revokeCA(ctx context.Context, certificate *x509.Certificate, reason v1alpha1.CARevocationReason) {
	GinkgoHelper()
	w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
		issuer.Spec.CA.SelfSigned.Revoked = append(issuer.Spec.CA.SelfSigned.Revoked, v1alpha1.RevokedCA{Serial: v1alpha1.SerialText(certificate.SerialNumber), Reason: reason})
	})
}

func certificatesIn(text string) []*x509.Certificate {
	GinkgoHelper()
	certificates, err := ca.ParseCertificates([]byte(text))
	Expect(err).NotTo(HaveOccurred())
	return certificates
}

func listing(certificate *x509.Certificate, reason ca.Reason) types.GomegaMatcher {
	return ContainElement(And(HaveField("SerialNumber", certificate.SerialNumber), HaveField("ReasonCode", int(reason))))
}

var _ = Describe("The CRL of a root that the operator made", func() {
	var w *crlWorld
	var root, intermediate *x509.Certificate
	BeforeEach(func(ctx SpecContext) {
		w = newCRLWorld(ctx)
		w.lookAll(ctx)
		root, intermediate = bundleOf(w.issuer(ctx))[0], w.loaded().Authority.Certificate()
	})

	It("goes into parts if one ConfigMap has no room for it, and takes a revocation there", func(ctx SpecContext) {
		name := v1alpha1.CAName(root)
		large := ca.CRL{Number: big.NewInt(w.clock.Now().Unix()), ThisUpdate: w.clock.Now().Add(-time.Hour), NextUpdate: w.clock.Now().Add(crlLifetime)}
		var listed []ca.Entry
		for i := range int64(20_000) {
			listed = append(listed, ca.Entry{Serial: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(0x5a), 128), big.NewInt(i)),
				RevokedAt: w.clock.Now().Add(-time.Hour), Reason: ca.Superseded, NotAfter: w.clock.Now().Add(1000 * time.Hour)})
		}
		var err error
		large.Entries, err = ca.NewEntries(listed...)
		Expect(err).NotTo(HaveOccurred())
		der, err := w.loaded().AuthorityOf(name).SignCRL(large)
		Expect(err).NotTo(HaveOccurred())
		w.crl.Name = name
		content := crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(large.Entries)}
		Expect(crlstore.Write(ctx, configMapsOf{w.namespace}, w.configMap(ctx), large.Number.String(), content)).To(Succeed())
		Expect(w.parts(ctx)).To(HaveLen(2))

		w.revokeCA(ctx, intermediate, v1alpha1.CACompromise)
		w.reconcile(ctx)
		w.restartLists()
		w.lookAll(ctx)
		Expect(w.published(ctx).RevokedCertificateEntries).To(And(HaveLen(20_001), listing(intermediate, ca.CACompromise)))
		Expect(w.parts(ctx)).To(HaveLen(4), "those of the CRL before are kept for its readers")
	})

	It("is complete, is renewed, and is named by the intermediate", func(ctx SpecContext) {
		first := w.crlBy(ctx, root)
		Expect(first.RevokedCertificateEntries).To(BeEmpty())
		for _, extension := range first.Extensions {
			Expect(extension.Critical).To(BeFalse(), "a critical extension keeps programs from reading it")
		}
		Expect(intermediate.CRLDistributionPoints).To(ConsistOf("http://acme.test/" + w.namespace + "/ca/crl/" + v1alpha1.CAName(root) + ".crl"))
		chain := w.issue("a.test")
		Expect(w.openssl(ctx, chain, root)).To(Equal("leaf.pem: OK\n"))

		w.clock.Step(crlLifetime * 41 / 100)
		w.lookAll(ctx)
		second := w.crlBy(ctx, root)
		Expect(second.Number.Cmp(first.Number)).To(Equal(1))
		Expect(second.NextUpdate).To(BeTemporally("==", w.clock.Now().Add(crlLifetime)))
		Expect(w.openssl(ctx, w.issue("b.test"), root)).To(Equal("leaf.pem: OK\n"))
	})

	It("has a lifetime of its own where the root's key is kept elsewhere", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.SelfSigned.RootCRLLifetime = ptr.To(hours(200)) })
		w.settle(ctx)
		w.clock.Step(crlLifetime * 41 / 100)
		w.lookAll(ctx)
		Expect(w.crlBy(ctx, intermediate).NextUpdate).To(BeTemporally("==", w.clock.Now().Add(crlLifetime)))
		before := w.crlBy(ctx, root)
		Expect(before.NextUpdate.Sub(before.ThisUpdate)).To(Equal(200 * time.Hour))

		key := w.secret(ctx, "ca-root")
		Expect(admin.Delete(ctx, key.DeepCopy())).To(Succeed())
		issuer := w.settle(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(readyOf(issuer).Message).To(ContainSubstring(`the root "ca" signs no CRL, because its key is not in the cluster`))
		w.clock.SetTime(before.NextUpdate.Add(-time.Hour))
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CRL.Lifetime = hours(101) })
		issuer = w.settle(ctx)
		Expect(readyOf(issuer).Message).To(And(ContainSubstring("the root's CRL expires at"), ContainSubstring("put the Secret of the root back")))

		Expect(admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca-root"}, Type: key.Type, Data: key.Data})).To(Succeed())
		issuer = w.settle(ctx)
		Expect(readyOf(issuer).Message).NotTo(ContainSubstring("CRL"))
		Expect(w.crlBy(ctx, root).Number.Cmp(before.Number)).To(Equal(1))
	})

	It("lists an intermediate that a person revokes, and the operator replaces the intermediate at once", func(ctx SpecContext) {
		old := w.issue("old.test")
		Expect(w.openssl(ctx, old, root)).To(Equal("leaf.pem: OK\n"))
		w.revokeCA(ctx, intermediate, v1alpha1.CACompromise)
		issuer := w.reconcile(ctx)
		Expect(w.loaded().Authority.Certificate().Equal(intermediate)).To(BeFalse())
		Expect(w.canIssue()).To(BeTrue())
		Expect(certificatesIn(issuer.Status.RevokedCertificates)).To(ConsistOf(intermediate))
		Expect(issuer.Status.RetiredCertificates).To(BeEmpty())
		Expect(w.events.taken()).To(ContainElement(And(HavePrefix("Warning CARevoked"), ContainSubstring(v1alpha1.SerialText(intermediate.SerialNumber)))))
		w.lookAll(ctx)
		revokedAt := w.clock.Now()
		listed := w.crlBy(ctx, root)
		Expect(listed.RevokedCertificateEntries).To(And(HaveLen(1), listing(intermediate, ca.CACompromise)))
		Expect(w.openssl(ctx, old, root)).To(ContainSubstring("certificate revoked"))
		Expect(w.openssl(ctx, w.issue("new.test"), root)).To(Equal("leaf.pem: OK\n"))

		By("removing the entry from the spec, as GitOps does")
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.SelfSigned.Revoked = nil })
		w.clock.Step(crlLifetime / 2)
		issuer = w.settle(ctx)
		Expect(certificatesIn(issuer.Status.RevokedCertificates)).To(ConsistOf(intermediate))
		Expect(w.crlBy(ctx, root).RevokedCertificateEntries).To(And(HaveLen(1), listing(intermediate, ca.CACompromise)))
		Expect(w.crlBy(ctx, root).RevokedCertificateEntries[0].RevocationTime).To(BeTemporally("<=", revokedAt))

		By("losing the CRL too")
		Expect(admin.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.CRLConfigMap("ca", v1alpha1.CAName(root))}})).To(Succeed())
		w.settle(ctx)
		Expect(w.crlBy(ctx, root).RevokedCertificateEntries).To(And(HaveLen(1), listing(intermediate, ca.Unspecified)))
		Expect(w.openssl(ctx, old, root)).To(ContainSubstring("certificate revoked"))
	})

	It("lists a retired intermediate, and one whose Secret is lost", func(ctx SpecContext) {
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "1")
		w.reconcile(ctx)
		second := w.loaded().Authority.Certificate()
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "2")
		w.reconcile(ctx)
		third := w.loaded().Authority.Certificate()
		Expect(admin.Delete(ctx, w.secret(ctx, "ca-intermediate-"+v1alpha1.CAName(intermediate)))).To(Succeed())
		w.revokeCA(ctx, intermediate, v1alpha1.CAUnspecified)
		w.revokeCA(ctx, second, v1alpha1.CASuperseded)
		issuer := w.settle(ctx)
		Expect(w.loaded().Authority.Certificate().Equal(third)).To(BeTrue(), "it is not revoked")
		Expect(certificatesIn(issuer.Status.RevokedCertificates)).To(ConsistOf(second))
		Expect(w.crlBy(ctx, root).RevokedCertificateEntries).To(And(HaveLen(2), listing(intermediate, ca.Unspecified), listing(second, ca.Superseded)))
	})

	It("stops an issuer whose revoked intermediate can't be replaced, until the root's key is back", func(ctx SpecContext) {
		key := w.secret(ctx, "ca-root")
		Expect(admin.Delete(ctx, key.DeepCopy())).To(Succeed())
		w.reconcile(ctx)
		w.revokeCA(ctx, intermediate, v1alpha1.CACompromise)
		issuer := w.reconcile(ctx)
		Expect(w.canIssue()).To(BeFalse())
		Expect(readyOf(issuer)).To(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonCAUnavailable), HaveField("Message", ContainSubstring("is revoked"))))
		Expect(w.loaded().Authority.Certificate().Equal(intermediate)).To(BeTrue(), "it still signs CRLs")

		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.SelfSigned.Revoked = nil })
		w.reconcile(ctx)
		Expect(w.canIssue()).To(BeFalse(), "a revocation is not undone")
		w.restart()
		w.reconcile(ctx)
		Expect(w.canIssue()).To(BeFalse())

		Expect(admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca-root"}, Type: key.Type, Data: key.Data})).To(Succeed())
		w.settle(ctx)
		Expect(w.canIssue()).To(BeTrue())
		Expect(w.crlBy(ctx, root).RevokedCertificateEntries).To(listing(intermediate, ca.Unspecified))
	})

	It("does not issue from the intermediate that was loaded before and is revoked, where its Secret is gone", func(ctx SpecContext) {
		Expect(admin.Delete(ctx, w.secret(ctx, "ca-intermediate"))).To(Succeed())
		Expect(admin.Delete(ctx, w.secret(ctx, "ca-root"))).To(Succeed())
		w.reconcile(ctx)
		Expect(w.canIssue()).To(BeTrue(), "from memory")
		w.revokeCA(ctx, intermediate, v1alpha1.CACompromise)
		w.reconcile(ctx)
		Expect(w.canIssue()).To(BeFalse())
	})

	It("is renewed after the root was replaced, and lists a revoked cross-certificate", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.CA.SelfSigned.RootOverlap = ptr.To(hours(1))
			kube.Annotate(issuer, v1alpha1.RotateRootAnnotation, "now")
		})
		w.reconcile(ctx)
		next := bundleOf(w.issuer(ctx))[1]
		w.lookAll(ctx)
		Expect(w.crlBy(ctx, next).RevokedCertificateEntries).To(BeEmpty(), "the next root has a CRL before it is used")
		w.clock.Step(2 * time.Hour)
		w.reconcile(ctx)
		w.settle(ctx)
		chain := w.issue("a.test")
		cross := chain[2]
		Expect(cross.CRLDistributionPoints).To(ConsistOf(HaveSuffix("/crl/" + v1alpha1.CAName(root) + ".crl")))
		Expect(chain[1].CRLDistributionPoints).To(ConsistOf(HaveSuffix("/crl/" + v1alpha1.CAName(next) + ".crl")))
		Expect(w.openssl(ctx, chain[:2], next)).To(Equal("leaf.pem: OK\n"))
		Expect(w.openssl(ctx, chain, root)).To(Equal("leaf.pem: OK\n"), "through the old root")

		before := w.crlBy(ctx, root)
		w.clock.Step(crlLifetime * 41 / 100)
		w.settle(ctx)
		Expect(w.crlBy(ctx, root).Number.Cmp(before.Number)).To(Equal(1), "the old root's CRL")

		w.revokeCA(ctx, cross, v1alpha1.CACessationOfOperation)
		w.settle(ctx)
		Expect(w.canIssue()).To(BeTrue())
		Expect(w.crlBy(ctx, root).RevokedCertificateEntries).To(And(HaveLen(1), listing(cross, ca.CessationOfOperation)))
		Expect(w.crlBy(ctx, next).RevokedCertificateEntries).To(BeEmpty())
		Expect(w.issue("b.test")).To(HaveLen(2), "the chain has no cross-certificate any more")
		Expect(w.openssl(ctx, chain, root)).To(ContainSubstring("certificate revoked"))
	})

	It("is valid until the root expires after the issuer is deleted", func(ctx SpecContext) {
		w.delete(ctx)
		Expect(w.crlBy(ctx, root).NextUpdate).To(BeTemporally("==", root.NotAfter))
		Expect(w.crlBy(ctx, intermediate).NextUpdate).To(BeTemporally("==", intermediate.NotAfter))
	})
})

var _ = Describe("The CRL of a root that a person brings", func() {
	var w *issuerWorld
	var root, intermediate *ca.KeyPair
	var number int64
	BeforeEach(func(ctx SpecContext) {
		number = 0
		spec := byReference("brought")
		w = newIssuerWorld(ctx, spec)
		root, intermediate = broughtCA(w.clock.Now(), 10000*time.Hour)
		w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(intermediate, root.Certificate))
	})
	// crl returns the root's next CRL in PEM, valid for a time, with revoked certificates.
	crl := func(by *ca.KeyPair, life time.Duration, revoked ...*x509.Certificate) string {
		GinkgoHelper()
		number++
		list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: w.clock.Now().Add(-time.Minute), NextUpdate: w.clock.Now().Add(life)}
		for _, c := range revoked {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: w.clock.Now()})
		}
		der, err := x509.CreateRevocationList(rand.Reader, list, by.Certificate, by.Key)
		Expect(err).NotTo(HaveOccurred())
		return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	}
	keep := func(ctx context.Context, text string) {
		GinkgoHelper()
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kept"}, Data: map[string]string{"ca.crl": text}}
		if err := admin.Create(ctx, configMap); err != nil {
			Expect(admin.Update(ctx, configMap)).To(Succeed())
		}
	}
	fromConfigMap := func(ctx context.Context) {
		GinkgoHelper()
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.CA.CRLs = []v1alpha1.CRLSource{{ConfigMapRef: &v1alpha1.ObjectRef{Name: "kept"}}}
		})
	}

	It("is published from a ConfigMap, and its absence is only noted", func(ctx SpecContext) {
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer)).To(And(HaveField("Reason", v1alpha1.ReasonReady), HaveField("Message", ContainSubstring(`no CRL of "CN=brought" is published (spec.ca.crls)`))))

		first := crl(root, 100*time.Hour)
		keep(ctx, first)
		fromConfigMap(ctx)
		issuer = w.reconcile(ctx)
		Expect(readyOf(issuer)).To(And(HaveField("Reason", v1alpha1.ReasonReady), HaveField("Message", "certificates are issued")))
		Expect(w.crlBy(ctx, root.Certificate).Number).To(Equal(big.NewInt(1)))
		before := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))

		keep(ctx, crl(root, 100*time.Hour))
		w.reconcile(ctx)
		Expect(w.crlBy(ctx, root.Certificate).Number).To(Equal(big.NewInt(2)))
		Expect(w.loaded().CACRLs).To(ConsistOf(HaveField("NextUpdate", BeTemporally("~", w.clock.Now().Add(100*time.Hour), time.Second))))

		keep(ctx, first)
		issuer = w.reconcile(ctx)
		Expect(w.crlBy(ctx, root.Certificate).Number).To(Equal(big.NewInt(2)), "the newest one stays")
		Expect(readyOf(issuer)).To(And(HaveField("Reason", v1alpha1.ReasonDegraded), HaveField("Message", ContainSubstring("is older than the published one"))))
	})

	It("is published from a Secret, in DER", func(ctx SpecContext) {
		block, _ := pem.Decode([]byte(crl(root, 100*time.Hour)))
		w.bring(ctx, "kept", corev1.SecretTypeOpaque, map[string][]byte{"root.crl": block.Bytes})
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.CA.CRLs = []v1alpha1.CRLSource{{SecretRef: &v1alpha1.ObjectRef{Name: "kept"}, Key: "root.crl"}}
		})
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.crlBy(ctx, root.Certificate).Raw).To(Equal(block.Bytes))
	})

	DescribeTable("makes the issuer degraded", func(ctx SpecContext, text func() string, words string) {
		good := crl(root, 100*time.Hour)
		keep(ctx, good)
		fromConfigMap(ctx)
		w.reconcile(ctx)
		if bad := text(); bad == "" {
			Expect(admin.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "kept"}})).To(Succeed())
		} else {
			keep(ctx, bad)
		}
		issuer := w.reconcile(ctx)
		Expect(w.canIssue()).To(BeTrue())
		Expect(readyOf(issuer)).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonDegraded), HaveField("Message", ContainSubstring(words))))
		w.crlBy(ctx, root.Certificate)
	},
		Entry("where it is gone", func() string { return "" }, `spec.ca.crls[0]: there is no ConfigMap "kept"`),
		Entry("where it is no CRL", func() string { return "x" }, "cannot be read"),
		Entry("where it is of another CA", func() string { return crl(intermediate, 100*time.Hour) }, "no CA above the issuing one"),
		Entry("where it is signed with another key", func() string {
			other, err := ca.NewRoot(ca.CAConfig{CommonName: "brought", KeyAlgorithm: ca.ECDSAP256, Lifetime: time.Hour}, w.clock.Now())
			Expect(err).NotTo(HaveOccurred())
			return crl(other, 100*time.Hour)
		}, "does not verify"),
		Entry("where it expires soon", func() string {
			soon := crl(root, 100*time.Hour)
			w.clock.Step(90 * time.Hour)
			return soon
		}, `the CRL of "CN=brought" expires at`),
		Entry("where it has expired", func() string {
			soon := crl(root, time.Hour)
			w.clock.Step(2 * time.Hour)
			return soon
		}, `the CRL of "CN=brought" expired at`),
		Entry("where it is not complete", func() string {
			der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
				Number: big.NewInt(9), ThisUpdate: w.clock.Now(), NextUpdate: w.clock.Now().Add(time.Hour),
				ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}},
			}, root.Certificate, root.Key)
			Expect(err).NotTo(HaveOccurred())
			return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
		}, "only complete CRLs are published"),
	)

	It("stops the issuer if it revokes the issuing CA", func(ctx SpecContext) {
		keep(ctx, crl(root, 100*time.Hour, intermediate.Certificate))
		fromConfigMap(ctx)
		issuer := w.reconcile(ctx)
		Expect(w.canIssue()).To(BeFalse())
		Expect(readyOf(issuer)).To(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonCAUnavailable),
			HaveField("Message", ContainSubstring("revokes the CA certificate "+v1alpha1.SerialText(intermediate.Certificate.SerialNumber)))))
		Expect(w.crlBy(ctx, root.Certificate).RevokedCertificateEntries).To(HaveLen(1))
	})
})
