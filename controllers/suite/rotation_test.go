package suite

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/authority"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/kube"
)

func hours(n int) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n) * time.Hour}
}

var _ = Describe("The intermediate of a CA that the operator made", func() {
	var w *issuerWorld
	var first *v1alpha1.AcmeIssuer
	BeforeEach(func(ctx SpecContext) {
		spec := selfSigned(v1alpha1.SelfSignedCA{RootLifetime: hours(2400), IntermediateLifetime: hours(300)})
		spec.Profiles = []v1alpha1.Profile{{Name: "default", Lifetime: hours(24)}}
		w = newIssuerWorld(ctx, spec)
		first = w.reconcile(ctx)
	})

	It("is made once: another reconcile writes nothing", func(ctx SpecContext) {
		before := w.versions(ctx)
		Expect(before).To(HaveKey("secret ca-root"))
		Expect(before).To(HaveKey("secret ca-intermediate"))
		Expect(before).To(HaveKey("secret ca-serial"))
		for range 3 {
			w.clock.Step(time.Minute)
			w.reconcile(ctx)
		}
		w.restart()
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
	})

	It("is replaced on request, once for each", func(ctx SpecContext) {
		chain := w.issue("before.test")
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "2026-01-01")
		second := w.reconcile(ctx)
		Expect(second.Status.IssuingCertificate.SHA256).NotTo(Equal(first.Status.IssuingCertificate.SHA256))
		Expect(second.Status.CABundle).To(Equal(first.Status.CABundle))
		Expect(w.verify(chain, bundleOf(second)...)).To(Succeed())
		Expect(w.verify(w.issue("after.test"), bundleOf(second)...)).To(Succeed())
		Expect(w.events.taken()).To(ContainElement(HavePrefix("Normal IntermediateReplaced")))

		before := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))

		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "2026-02-02")
		third := w.reconcile(ctx)
		Expect(third.Status.IssuingCertificate.SHA256).NotTo(Equal(second.Status.IssuingCertificate.SHA256))
		Expect(w.loaded().Retired).To(HaveLen(2))
	})

	It("goes on signing CRLs after that until it has expired, also after a restart", func(ctx SpecContext) {
		old := w.loaded().Authority.Certificate()
		shard := v1alpha1.CRLShardName(old, 0)
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now")
		w.reconcile(ctx)
		Expect(w.loaded().AuthorityOf(shard).Certificate().Equal(old)).To(BeTrue())
		w.clock.SetTime(old.NotAfter.Add(-time.Hour))
		w.restart()
		w.reconcile(ctx)
		Expect(w.loaded().AuthorityOf(shard).Certificate().Equal(old)).To(BeTrue())
		w.clock.SetTime(old.NotAfter.Add(time.Hour))
		w.reconcile(ctx)
		Expect(w.loaded().AuthorityOf(shard)).To(BeNil())
	})

	It("is replaced when a third of its life is left", func(ctx SpecContext) {
		end := first.Status.IssuingCertificate.NotAfter
		w.clock.SetTime(end.Add(-101 * time.Hour))
		Expect(w.reconcile(ctx).Status.IssuingCertificate.SHA256).To(Equal(first.Status.IssuingCertificate.SHA256))
		w.clock.SetTime(end.Add(-99 * time.Hour))
		Expect(w.reconcile(ctx).Status.IssuingCertificate.SHA256).NotTo(Equal(first.Status.IssuingCertificate.SHA256))
	})

	It("is replaced while it still outlasts the longest certificate", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			longest := hours(140)
			issuer.Spec.Profiles[0].MaxLifetime = &longest
		})
		w.clock.SetTime(first.Status.IssuingCertificate.NotAfter.Add(-139 * time.Hour))
		Expect(w.reconcile(ctx).Status.IssuingCertificate.SHA256).NotTo(Equal(first.Status.IssuingCertificate.SHA256))
	})

	It("isn't replaced on requests without end while those before it still sign CRLs", func(ctx SpecContext) {
		for i := range authority.MaxRetired + 1 {
			w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, fmt.Sprint(i))
			w.reconcile(ctx)
		}
		Expect(w.loaded().Retired).To(HaveLen(authority.MaxRetired))
		ready := readyOf(w.issuer(ctx))
		Expect(ready.Status).To(Equal(metav1.ConditionTrue))
		Expect(ready.Reason).To(Equal(v1alpha1.ReasonDegraded))
		Expect(ready.Message).To(ContainSubstring("still sign CRLs"))
		w.issue("anyway.test")
		oldest := w.loaded().Retired[authority.MaxRetired-1]
		Expect(admin.Delete(ctx, w.secret(ctx, "ca-intermediate-"+v1alpha1.CAName(oldest.Certificate())))).To(Succeed())
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
	})

	It("is replaced once where two controllers are at it", func(ctx SpecContext) {
		other := *w
		other.restart()
		other.reconcile(ctx)
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now")
		var group sync.WaitGroup
		for _, controller := range []*issuerWorld{w, &other} {
			group.Go(func() { _ = controller.try(ctx) })
		}
		group.Wait()
		w.reconcile(ctx)
		other.reconcile(ctx)
		Expect(w.loaded().Retired).To(HaveLen(1))
		Expect(other.loaded().Authority.Certificate().Equal(w.loaded().Authority.Certificate())).To(BeTrue())
		expectComplete(ctx, w)
	})

	It("doesn't need the root's Secret until it is due, and then says so", func(ctx SpecContext) {
		root := w.secret(ctx, "ca-root")
		Expect(admin.Delete(ctx, root.DeepCopy())).To(Succeed())
		w.restart()
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(issuer.Status.CABundle).To(Equal(first.Status.CABundle))
		w.issue("offline.test")

		w.clock.SetTime(first.Status.IssuingCertificate.NotAfter.Add(-50 * time.Hour))
		w.events.taken()
		issuer = w.reconcile(ctx)
		Expect(issuer.Status.IssuingCertificate.SHA256).To(Equal(first.Status.IssuingCertificate.SHA256))
		Expect(readyOf(issuer).Status).To(Equal(metav1.ConditionTrue))
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonDegraded))
		Expect(readyOf(issuer).Message).To(ContainSubstring(`put Secret "ca-root" back`))
		Expect(w.events.taken()).To(ConsistOf(And(HavePrefix("Warning Degraded"), ContainSubstring(`put Secret "ca-root" back`))))
		w.issue("still.test")
		before := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
		Expect(w.events.taken()).To(BeEmpty(), "said once")

		back := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: root.Namespace, Name: root.Name}, Type: root.Type, Data: root.Data}
		Expect(admin.Create(ctx, back)).To(Succeed())
		issuer = w.reconcile(ctx)
		Expect(issuer.Status.IssuingCertificate.SHA256).NotTo(Equal(first.Status.IssuingCertificate.SHA256))
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.verify(w.issue("again.test"), bundleOf(first)...)).To(Succeed())
	})

	It("isn't put under a root that isn't above it", func(ctx SpecContext) {
		other, err := ca.NewRoot(ca.CAConfig{CommonName: "other", KeyAlgorithm: ca.ECDSAP256, Lifetime: time.Hour}, w.clock.Now())
		Expect(err).NotTo(HaveOccurred())
		root := w.secret(ctx, "ca-root")
		root.Data[corev1.TLSCertKey] = other.CertificatePEM()
		root.Data[corev1.TLSPrivateKeyKey], err = other.KeyPEM()
		Expect(err).NotTo(HaveOccurred())
		Expect(admin.Update(ctx, root)).To(Succeed())
		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now")
		issuer := w.reconcile(ctx)
		Expect(issuer.Status.IssuingCertificate).To(Equal(first.Status.IssuingCertificate))
		Expect(issuer.Status.CABundle).To(Equal(first.Status.CABundle))
		Expect(readyOf(issuer).Message).To(ContainSubstring("holds another root"))
	})
})

var _ = Describe("The root of a CA that the operator made", func() {
	const overlap = 24
	var w *issuerWorld
	var first *v1alpha1.AcmeIssuer
	var old *x509.Certificate
	BeforeEach(func(ctx SpecContext) {
		spec := selfSigned(v1alpha1.SelfSignedCA{RootLifetime: hours(2400), IntermediateLifetime: hours(600), RootOverlap: ptr.To(hours(overlap))})
		spec.Profiles = []v1alpha1.Profile{{Name: "default", Lifetime: hours(24)}}
		w = newIssuerWorld(ctx, spec)
		first = w.reconcile(ctx)
		Expect(bundleOf(first)).To(HaveLen(1))
		old = bundleOf(first)[0]
	})

	It("is published before anything is issued from the next one, and then both verify", func(ctx SpecContext) {
		w.annotate(ctx, v1alpha1.RotateRootAnnotation, "now")
		published := w.reconcile(ctx)
		Expect(bundleOf(published)).To(HaveLen(2))
		Expect(bundleOf(published)[0].Equal(old)).To(BeTrue())
		next := bundleOf(published)[1]
		Expect(published.Status.IssuingCertificate).To(Equal(first.Status.IssuingCertificate))
		Expect(w.verify(w.issue("during.test"), next)).NotTo(Succeed(), "nothing is issued from the next root yet")

		before := w.versions(ctx)
		w.clock.Step((overlap - 1) * time.Hour)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))

		w.clock.Step(2 * time.Hour)
		moved := w.reconcile(ctx)
		Expect(bundleOf(moved)).To(ConsistOf(old, next))
		chain := w.issue("after.test")
		Expect(w.verify(chain, old)).To(Succeed())
		Expect(w.verify(chain, next)).To(Succeed())
		Expect(w.verify(chain[:2], next)).To(Succeed(), "without the cross-certificate")
		Expect(w.verify(chain[:2], old)).NotTo(Succeed(), "the cross-certificate leads to the old root")

		before = w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
		root := w.secret(ctx, "ca-root")
		Expect(root.Data).To(HaveLen(2), "the old root's key is elsewhere")
		Expect(w.secret(ctx, "ca-root-"+v1alpha1.CAName(old)).Data).To(HaveLen(2), "and signs the old root's CRL")
		Expect(w.loaded().Retired).To(HaveLen(1))
		shard := v1alpha1.CRLShardName(w.loaded().Retired[0].Certificate(), 0)
		Expect(w.loaded().AuthorityOf(shard)).To(Equal(w.loaded().Retired[0]))
	})

	It("is replaced as soon as the overlap ends, not at the next check of the Secrets", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.CA.SelfSigned.RootOverlap = &metav1.Duration{Duration: 2 * time.Second}
		})
		w.annotate(ctx, v1alpha1.RotateRootAnnotation, "now")
		result, err := w.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: w.key()})
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(Equal(2 * time.Second))
		w.clock.Step(result.RequeueAfter)
		next := bundleOf(w.issuer(ctx))[1]
		result, err = w.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: w.key()})
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(Equal(time.Minute))
		Expect(w.verify(w.issue("after.test"), next)).To(Succeed())
	})

	It("is replaced when a third of its life is left, and leaves the bundle and the chain once it has expired", func(ctx SpecContext) {
		w.clock.SetTime(old.NotAfter.Add(-801 * time.Hour))
		Expect(bundleOf(w.reconcile(ctx))).To(HaveLen(1))
		w.clock.SetTime(old.NotAfter.Add(-799 * time.Hour))
		Expect(bundleOf(w.reconcile(ctx))).To(HaveLen(2))
		w.clock.Step((overlap + 1) * time.Hour)
		Expect(bundleOf(w.reconcile(ctx))).To(HaveLen(2))
		Expect(w.issue("overlap.test")).To(HaveLen(3))
		w.clock.SetTime(old.NotAfter.Add(time.Hour))
		issuer := w.reconcile(ctx)
		Expect(bundleOf(issuer)).To(HaveLen(1))
		chain := w.issue("later.test")
		Expect(chain).To(HaveLen(2))
		Expect(w.verify(chain, bundleOf(issuer)...)).To(Succeed())
	})

	It("is replaced in time where rootOverlap is longer than it lasts", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.SelfSigned.RootOverlap = ptr.To(hours(8760)) })
		w.clock.SetTime(old.NotAfter.Add(-799 * time.Hour))
		w.reconcile(ctx)
		w.clock.SetTime(old.NotAfter.Add(-398 * time.Hour))
		issuer := w.reconcile(ctx)
		chain := w.issue("in-time.test")
		Expect(w.verify(chain[:2], bundleOf(issuer)[0])).To(Succeed())
		Expect(w.verify(chain, old)).To(Succeed())
	})

	It("is in the chain over two replacements in a row", func(ctx SpecContext) {
		for _, request := range []string{"one", "two"} {
			w.annotate(ctx, v1alpha1.RotateRootAnnotation, request)
			w.reconcile(ctx)
			w.clock.Step((overlap + 1) * time.Hour)
			w.reconcile(ctx)
		}
		roots := bundleOf(w.issuer(ctx))
		Expect(roots).To(HaveLen(3))
		Expect(roots[0].Subject.CommonName).To(Equal("ca 3"))
		chain := w.issue("twice.test")
		Expect(chain).To(HaveLen(4))
		Expect(chain[1].Subject.CommonName).To(Equal("ca Intermediate 3"))
		for _, root := range roots {
			Expect(w.verify(chain, root)).To(Succeed())
		}
	})

	It("is published before anything is issued from it, also where the time between has passed unused", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.CA.SelfSigned.RootOverlap = &metav1.Duration{Duration: time.Second}
			kube.Annotate(issuer, v1alpha1.RotateRootAnnotation, "now")
		})
		w.faults.from(2)
		Expect(w.try(ctx)).To(MatchError(errKilled), "before it could publish the root that it has made")
		w.faults.none()
		w.clock.Step(time.Hour)
		w.restart()
		published := w.reconcile(ctx)
		Expect(bundleOf(published)).To(HaveLen(2))
		Expect(published.Status.IssuingCertificate).To(Equal(first.Status.IssuingCertificate))
		Expect(w.reconcile(ctx).Status.IssuingCertificate).NotTo(Equal(first.Status.IssuingCertificate))
	})
})

// A rotationStep is a request of a person, or a change that is due with time.
type rotationStep struct {
	act  func(SpecContext, *issuerWorld)
	done func(*v1alpha1.AcmeIssuer) bool
}

var _ = Describe("A controller that is killed while it replaces a CA", func() {
	const overlap = 24
	intermediate := rotationStep{
		act:  func(ctx SpecContext, w *issuerWorld) { w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now") },
		done: func(*v1alpha1.AcmeIssuer) bool { return true },
	}
	publish := rotationStep{
		act:  func(ctx SpecContext, w *issuerWorld) { w.annotate(ctx, v1alpha1.RotateRootAnnotation, "now") },
		done: func(issuer *v1alpha1.AcmeIssuer) bool { return len(bundleOf(issuer)) == 2 },
	}
	move := rotationStep{
		act:  func(_ SpecContext, w *issuerWorld) { w.clock.Step((overlap + 1) * time.Hour) },
		done: func(issuer *v1alpha1.AcmeIssuer) bool { return len(bundleOf(issuer)) == 2 },
	}
	revokes := rotationStep{
		act: func(ctx SpecContext, w *issuerWorld) {
			w.revokeCA(ctx, w.loaded().Authority.Certificate(), v1alpha1.CACompromise)
		},
		done: func(issuer *v1alpha1.AcmeIssuer) bool { return issuer.Status.RevokedCertificates != "" },
	}
	first := rotationStep{act: func(SpecContext, *issuerWorld) {}, done: func(*v1alpha1.AcmeIssuer) bool { return true }}

	// kill runs the earlier steps, then fails the nth write of a step and all later ones, and continues with another controller.
	kill := func(ctx SpecContext, n int, before []rotationStep, step rotationStep) (failed bool) {
		GinkgoHelper()
		spec := selfSigned(v1alpha1.SelfSignedCA{RootLifetime: hours(2400), IntermediateLifetime: hours(600), RootOverlap: ptr.To(hours(overlap))})
		w := newIssuerWorld(ctx, spec)
		for _, s := range before {
			s.act(ctx, w)
			w.reconcile(ctx)
		}
		step.act(ctx, w)
		was := w.issuer(ctx)
		w.faults.from(n)
		_ = w.try(ctx)
		failed = w.faults.happened()
		w.faults.none()

		now := w.issuer(ctx)
		if len(before) > 0 {
			Expect(bundleOf(now)).To(ContainElements(bundleOf(was)), "what clients trust stays")
			Expect(w.verify(w.issue("meanwhile.test"), bundleOf(was)...)).To(Succeed())
		}
		for range 2 {
			w.restart()
			w.reconcile(ctx)
		}
		after := w.issuer(ctx)
		Expect(readyOf(after).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(step.done(after)).To(BeTrue())
		for _, root := range bundleOf(after) {
			if root.NotBefore.Before(w.clock.Now().Add(-overlap * time.Hour)) {
				Expect(w.verify(w.issue("after.test"), root)).To(Succeed())
			}
		}
		expectComplete(ctx, w)
		settled := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(settled))
		return failed
	}

	for name, sequence := range map[string][]rotationStep{
		"makes it":                  {first},
		"replaces the intermediate": {first, intermediate},
		"revokes the intermediate":  {first, revokes},
		"publishes the next root":   {first, publish},
		"moves to the next root":    {first, publish, move},
	} {
		It("before any of the writes with which it "+name+" is followed by one that completes it", func(ctx SpecContext) {
			last := len(sequence) - 1
			writes := 0
			for n := 1; kill(ctx, n, sequence[:last], sequence[last]); n++ {
				writes++
			}
			Expect(writes).To(BeNumerically(">=", 2), "nothing was killed")
		})
	}
})

// expectComplete verifies that the Secrets match each other, and that no key is left behind.
func expectComplete(ctx context.Context, w *issuerWorld) {
	GinkgoHelper()
	issuer := w.loaded()
	var secrets corev1.SecretList
	Expect(admin.List(ctx, &secrets, client.InNamespace(w.namespace))).To(Succeed())
	var retired []string
	if previous := w.secret(ctx, "ca-intermediate").Data["previous.crt"]; len(previous) > 0 {
		for _, root := range certificatesIn(string(previous)) {
			retired = append(retired, "ca-root-"+v1alpha1.CAName(root))
		}
	}
	for _, authority := range issuer.Retired {
		retired = append(retired, "ca-intermediate-"+v1alpha1.CAName(authority.Certificate()))
	}
	var names []string
	for _, s := range secrets.Items {
		names = append(names, s.Name)
	}
	Expect(names).To(ConsistOf(append(slices.Clone(retired), "ca-root", "ca-intermediate", "ca-serial")))
}
