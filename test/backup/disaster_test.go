package backup

import (
	"context"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// patience bounds a wait on a busy machine.
const patience = time.Minute

// elsewhere lists rows of the guide that other specs replay.
var elsewhere = map[string]string{
	"the whole cluster":       "the spec on backup and restore",
	"a key, to somebody else": "test/docs and test/kubectl, on a compromised CA",
}

// lostThings returns the first cells of the guide's table.
func lostThings() []string {
	GinkgoHelper()
	_, table, found := strings.Cut(guide.Text("disaster-recovery.md"), "## Recovery by lost item\n")
	Expect(found).To(BeTrue())
	table, _, _ = strings.Cut(table, "\n## ")
	var lost []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		if name := strings.TrimSpace(cells[1]); name != "lost" && strings.Trim(name, "-") != "" {
			lost = append(lost, name)
		}
	}
	return lost
}

// A site is an acmeca that loses parts, with a client that has certificates.
type site struct {
	acmeca  *local.Local
	cluster client.Client
	user    *user
	bundle  string
	// kept is a valid certificate; revoked and gone are revoked.
	kept, revoked, gone *x509.Certificate
	names               int
}

var _ = Describe("The guide to disaster recovery", Ordered, func() {
	var s *site
	BeforeAll(func(ctx SpecContext) { s = newSite(ctx) }, NodeTimeout(6*time.Minute))

	replays := []struct {
		lost   string
		replay func(*site, context.Context)
	}{
		{"a Pod, a node, the leader of the controllers", (*site).loseProcesses},
		{"the API server or etcd, for a while", (*site).loseControlPlane},
		{"the newest state of etcd, which is restored while acmeca runs", (*site).rewindEtcd},
		{"an AcmeIssuer that was deleted", (*site).loseIssuer},
		{"AcmeOrders", (*site).loseOrders},
		{"CRL ConfigMaps", (*site).loseCRLs},
		{"the Secret `<issuer>-serial`", (*site).loseSerial},
		{"the Secret of the intermediate", (*site).loseIntermediate},
		{"the root's Secret", (*site).loseRoot},
		{"AcmeAccounts", (*site).loseAccounts},
	}
	for _, r := range replays {
		It("is right about "+r.lost, func(ctx SpecContext) { r.replay(s, ctx) }, SpecTimeout(6*time.Minute))
	}

	It("has a spec for each row", func() {
		for _, lost := range lostThings() {
			known := elsewhere[lost] != ""
			for _, r := range replays {
				known = known || r.lost == lost
			}
			Expect(known).To(BeTrue(), lost)
		}
		Expect(lostThings()).To(HaveLen(len(replays) + len(elsewhere)))
	})
})

func newSite(ctx context.Context) *site {
	GinkgoHelper()
	operator := GinkgoT().TempDir() + "/acmeca"
	ports, err := local.FreePorts()
	Expect(err).NotTo(HaveOccurred())
	Expect(local.BuildOperator(ctx, operator)).To(Succeed())
	responder := suite.Respond(ports.HTTP01)
	s := &site{acmeca: start(ctx, GinkgoT().TempDir(), operator, ports)}
	s.cluster, s.user = s.acmeca.Client(), newUser(s.acmeca, responder)
	s.user.account, err = s.user.NewAccount(ctx, s.user.account)
	Expect(err).NotTo(HaveOccurred())
	s.kept, s.revoked, s.gone = s.obtain(ctx), s.obtain(ctx), s.obtain(ctx)
	for _, certificate := range []*x509.Certificate{s.revoked, s.gone} {
		Expect(s.user.RevokeCertificate(ctx, s.user.account, certificate, nil, acme.ReasonSuperseded)).To(Succeed())
		s.isListed(ctx, certificate)
	}
	s.bundle = s.issuer(ctx).Status.CABundle
	return s
}

// obtain obtains a certificate for a new name, under the original root.
func (s *site) obtain(ctx context.Context) *x509.Certificate {
	GinkgoHelper()
	s.names++
	return s.user.obtain(ctx, fmt.Sprintf("n%d.disaster.test", s.names), nil)
}

func (s *site) isListed(ctx context.Context, certificate *x509.Certificate) {
	GinkgoHelper()
	Eventually(ctx, func() ([]string, error) { serials, _, err := listed(ctx, certificate); return serials, err }).WithTimeout(patience).
		Should(ContainElement(serial(certificate.SerialNumber.Bytes())))
}

func (s *site) issuer(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	Expect(s.cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, issuer)).To(Succeed())
	return issuer
}

// says waits until the issuer's Ready condition has a reason and a text after another reconciliation.
func (s *site) says(ctx context.Context, reason, text string) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"test":%q}}}`, time.Now())
	Expect(s.cluster.Patch(ctx, s.issuer(ctx), client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
	Eventually(ctx, func(g Gomega) {
		ready := meta.FindStatusCondition(s.issuer(ctx).Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Reason).To(Equal(reason), ready.Message)
		g.Expect(ready.Message).To(ContainSubstring(text))
	}).WithTimeout(2 * time.Minute).Should(Succeed())
}

// lose deletes a Secret, and returns a copy to create again.
func (s *site) lose(ctx context.Context, name string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(s.cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, secret)).To(Succeed())
	Expect(s.cluster.Delete(ctx, secret)).To(Succeed())
	secret.UID, secret.ResourceVersion = "", ""
	return secret
}

func (s *site) restart(ctx context.Context) {
	GinkgoHelper()
	s.acmeca.KillOperator()
	Expect(s.acmeca.StartOperator(ctx)).To(Succeed())
}

func (s *site) loseProcesses(ctx context.Context) {
	order, err := s.user.NewOrder(ctx, s.user.account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "under-way.disaster.test"}}})
	Expect(err).NotTo(HaveOccurred())
	s.restart(ctx)
	again, err := s.user.GetOrder(ctx, s.user.account, order)
	Expect(err).NotTo(HaveOccurred())
	Expect(again.Authorizations).To(Equal(order.Authorizations))
	s.obtain(ctx)
}

func (s *site) loseControlPlane(ctx context.Context) {
	Expect(s.acmeca.Plane().RestartEtcd(ctx)).To(Succeed())
	Expect(s.acmeca.Plane().RestartAPIServer(ctx)).To(Succeed())
	Eventually(ctx, func() error { _, err := s.user.GetAccount(ctx, s.user.account); return err }).WithTimeout(patience).Should(Succeed())
	s.obtain(ctx)
}

// rewindEtcd restores etcd to a state before some certificates and an account. The operator ends by itself, and is started again as by
// the kubelet.
func (s *site) rewindEtcd(ctx context.Context) {
	backup := filepath.Join(GinkgoT().TempDir(), "etcd")
	Expect(s.acmeca.Plane().BackUpEtcd(ctx, backup)).To(Succeed())
	lost := acme.Account{TermsOfServiceAgreed: true, PrivateKey: certificates.NewKey()}
	Eventually(ctx, func() (err error) { lost, err = s.user.NewAccount(ctx, lost); return err }).WithTimeout(patience).Should(Succeed())
	for range 3 {
		s.obtain(ctx)
	}
	Expect(s.acmeca.Plane().RestoreEtcd(ctx, backup)).To(Succeed())
	log, err := s.acmeca.AwaitOperatorEnd(ctx)
	Expect(err).NotTo(HaveOccurred(), log)
	Expect(log).To(ContainSubstring("as after a restore of etcd from a backup"))
	Expect(s.acmeca.StartOperator(ctx)).To(Succeed())

	_, err = s.user.GetAccount(ctx, lost)
	Expect(err).To(MatchError(ContainSubstring(acme.ProblemTypeAccountDoesNotExist)))
	s.obtain(ctx)
	s.isListed(ctx, s.revoked)
}

func (s *site) loseIssuer(ctx context.Context) {
	before := s.issuer(ctx)
	Expect(s.cluster.Delete(ctx, before)).To(Succeed())
	Eventually(ctx, func() error { return s.cluster.Get(ctx, client.ObjectKeyFromObject(before), &v1alpha1.AcmeIssuer{}) }).WithTimeout(patience).ShouldNot(Succeed())
	again := &v1alpha1.AcmeIssuer{Spec: before.Spec}
	again.Namespace, again.Name = before.Namespace, before.Name
	Expect(s.cluster.Create(ctx, again)).To(Succeed())
	s.says(ctx, v1alpha1.ReasonReady, "")
	Expect(s.issuer(ctx).Status.CABundle).To(Equal(s.bundle))
	s.isListed(ctx, s.revoked)
	s.obtain(ctx) // with the same account
}

func (s *site) loseOrders(ctx context.Context) {
	for _, certificate := range []*x509.Certificate{s.kept, s.gone} {
		deleteOrderOf(ctx, s.cluster, certificate)
	}
	s.isListed(ctx, s.gone)
	Expect(s.user.RevokeCertificate(ctx, s.user.account, s.kept, nil, acme.ReasonSuperseded)).NotTo(Succeed())
}

func (s *site) loseCRLs(ctx context.Context) {
	for _, list := range []*corev1.ConfigMap{s.crlOf(ctx, s.revoked), s.crlOf(ctx, s.gone)} { // possibly the same list
		Expect(client.IgnoreNotFound(s.cluster.Delete(ctx, list))).To(Succeed())
	}
	s.restart(ctx)
	s.isListed(ctx, s.revoked)
	Eventually(ctx, func() ([]string, error) { serials, _, err := listed(ctx, s.gone); return serials, err }).WithTimeout(patience).
		ShouldNot(ContainElement(serial(s.gone.SerialNumber.Bytes())), "its order is gone")
}

func (s *site) loseSerial(ctx context.Context) {
	lost := s.lose(ctx, "default-serial")
	s.restart(ctx)
	s.obtain(ctx)
	another := &corev1.Secret{}
	Expect(s.cluster.Get(ctx, client.ObjectKeyFromObject(lost), another)).To(Succeed())
	Expect(another.Data).NotTo(Equal(lost.Data))
}

func (s *site) loseIntermediate(ctx context.Context) {
	s.lose(ctx, "default-intermediate")
	s.says(ctx, v1alpha1.ReasonReady, "")
	Eventually(ctx, func(g Gomega) {
		var events eventsv1.EventList
		g.Expect(s.cluster.List(ctx, &events, client.InNamespace(local.Namespace))).To(Succeed())
		g.Expect(events.Items).To(ContainElement(HaveField("Reason", "IntermediateLost")))
	}).WithTimeout(2 * time.Minute).Should(Succeed())
	another := s.obtain(ctx)
	Expect(another.AuthorityKeyId).NotTo(Equal(s.kept.AuthorityKeyId))

	root, lost := s.lose(ctx, "default-root"), s.lose(ctx, "default-intermediate")
	s.says(ctx, v1alpha1.ReasonDegraded, `"default-intermediate"`)
	Expect(s.obtain(ctx).AuthorityKeyId).To(Equal(another.AuthorityKeyId))
	Expect(s.cluster.Create(ctx, lost)).To(Succeed())
	Expect(s.cluster.Create(ctx, root)).To(Succeed())
	s.says(ctx, v1alpha1.ReasonReady, "")
	Expect(s.issuer(ctx).Status.CABundle).To(Equal(s.bundle))
}

func (s *site) loseRoot(ctx context.Context) {
	s.lose(ctx, "default-root")
	s.says(ctx, v1alpha1.ReasonReady, "")
	s.restart(ctx)
	s.obtain(ctx)
	Expect(s.issuer(ctx).Status.CABundle).To(Equal(s.bundle))
}

func (s *site) loseAccounts(ctx context.Context) {
	Expect(s.cluster.DeleteAllOf(ctx, &v1alpha1.AcmeAccount{}, client.InNamespace(local.Namespace))).To(Succeed())
	// The ACME server sees the issuer with a short delay.
	Eventually(ctx, func() error { _, err := s.user.GetAccount(ctx, s.user.account); return err }).WithTimeout(patience).Should(HaveOccurred())
	before, again := s.user.account.Location, s.user.account
	again.Location, again.Status = "", ""
	Eventually(ctx, func() (err error) { s.user.account, err = s.user.NewAccount(ctx, again); return err }).WithTimeout(patience).Should(Succeed())
	Expect(s.user.account.Location).To(Equal(before))
	s.obtain(ctx)
}

// crlOf returns the ConfigMap of the CRL that lists a certificate.
func (s *site) crlOf(ctx context.Context, certificate *x509.Certificate) *corev1.ConfigMap {
	GinkgoHelper()
	var all corev1.ConfigMapList
	Expect(s.cluster.List(ctx, &all, client.InNamespace(local.Namespace), client.MatchingLabels{v1alpha1.IssuerLabel: "default"})).To(Succeed())
	for i := range all.Items {
		list, err := x509.ParseRevocationList(all.Items[i].BinaryData[v1alpha1.CRLField])
		if err != nil {
			continue
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(certificate.SerialNumber) == 0 {
				return &all.Items[i]
			}
		}
	}
	Fail("no CRL lists the certificate")
	return nil
}
