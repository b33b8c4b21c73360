package suite

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/retention"
)

var _ = Describe("Retention", func() {
	var (
		namespace string
		clock     *testingclock.FakeClock
		now       time.Time
	)
	BeforeEach(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		now = time.Now()
		clock = testingclock.NewFakeClock(now)
		issuer := &v1alpha1.AcmeIssuer{Spec: v1alpha1.AcmeIssuerSpec{
			CA: v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}},
			Retention: v1alpha1.Retention{
				Orders: metav1.Duration{Duration: time.Hour}, Authorizations: metav1.Duration{Duration: time.Hour},
				Accounts: metav1.Duration{Duration: 24 * time.Hour},
			},
		}}
		issuer.Namespace, issuer.Name = namespace, "ca"
		Expect(admin.Create(ctx, issuer)).To(Succeed())
	})

	create := func(ctx SpecContext, object client.Object, status func()) {
		GinkgoHelper()
		object.SetNamespace(namespace)
		Expect(admin.Create(ctx, object)).To(Succeed())
		status()
		Expect(admin.Status().Update(ctx, object)).To(Succeed())
	}
	order := func(ctx SpecContext, name string, authorization string, status v1alpha1.AcmeOrderStatus) *v1alpha1.AcmeOrder {
		GinkgoHelper()
		o := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "a"},
			Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}}, Authorizations: []string{authorization},
		}}
		o.Name = name
		create(ctx, o, func() { o.Status = status })
		return o
	}
	authorization := func(ctx SpecContext, name string, state acme.State, expires time.Time) *v1alpha1.AcmeAuthorization {
		GinkgoHelper()
		a := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "a"},
			Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"},
			Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("t", 43)}},
		}}
		a.Name = name
		at := metav1.NewTime(expires)
		create(ctx, a, func() { a.Status = v1alpha1.AcmeAuthorizationStatus{State: state, Expires: &at} })
		return a
	}
	account := func(ctx SpecContext, name string, state acme.State, edit ...func(*v1alpha1.AcmeAccount)) *v1alpha1.AcmeAccount {
		GinkgoHelper()
		a := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, JWK: "{}"}}
		a.Name = name
		for _, change := range edit {
			change(a)
		}
		if a.Spec.KeyClaimFor == "" {
			a.Spec.Registration = &v1alpha1.SignedRequest{Protected: "e30", Signature: "AA"}
		}
		create(ctx, a, func() { a.Status.State = state })
		return a
	}
	claimFor := func(name string) func(*v1alpha1.AcmeAccount) {
		return func(a *v1alpha1.AcmeAccount) { a.Spec.KeyClaimFor = name }
	}
	sweep := func(ctx SpecContext) {
		GinkgoHelper()
		Expect((&retention.Sweeper{Client: admin, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
	}
	gone := func(ctx SpecContext, object client.Object) bool {
		GinkgoHelper()
		err := admin.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return true
		}
		Expect(err).NotTo(HaveOccurred())
		return false
	}
	valid := func(notAfter time.Time) v1alpha1.AcmeOrderStatus {
		at := metav1.NewTime(notAfter)
		return v1alpha1.AcmeOrderStatus{State: acme.StateValid, NotAfter: &at}
	}

	It("removes expired objects, and nothing else", func(ctx SpecContext) {
		old, recent := now.Add(-2*time.Hour), now.Add(-30*time.Minute)
		failed := v1alpha1.AcmeOrderStatus{State: acme.StateInvalid, Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Connection", LastTransitionTime: metav1.NewTime(old),
		}}}
		over := []client.Object{
			order(ctx, "expired", "authz-1", valid(old)),
			order(ctx, "failed", "authz-2", failed),
			authorization(ctx, "authz-old", acme.StateExpired, old),
			authorization(ctx, "authz-valid-old", acme.StateValid, old),
		}
		kept := []client.Object{
			order(ctx, "expired-lately", "authz-3", valid(recent)),
			order(ctx, "good", "authz-4", valid(now.Add(time.Hour))),
			order(ctx, "pending", "authz-needed", v1alpha1.AcmeOrderStatus{State: acme.StatePending}),
			authorization(ctx, "authz-lately", acme.StateExpired, recent),
			authorization(ctx, "authz-needed", acme.StateValid, old),
			authorization(ctx, "authz-good", acme.StateValid, now.Add(time.Hour)),
		}
		Expect((&retention.Sweeper{Client: admin, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		for _, object := range over {
			Expect(gone(ctx, object)).To(BeTrue(), object.GetName())
		}
		for _, object := range kept {
			Expect(gone(ctx, object)).To(BeFalse(), object.GetName())
		}

		clock.Step(3 * time.Hour)
		Expect((&retention.Sweeper{Client: admin, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		Expect(gone(ctx, kept[1])).To(BeTrue(), "the certificate has expired since")
		Expect(gone(ctx, kept[2])).To(BeFalse(), "an unfinished order ends first, by expiring")
	})

	It("removes the authorization that only a finished order could use before it expires", func(ctx SpecContext) {
		proved := func(order string) *v1alpha1.AcmeAuthorization {
			a := authorization(ctx, v1alpha1.OwnAuthorization(order, 0), acme.StateValid, now.Add(100*time.Hour))
			a.Status.Challenge = &v1alpha1.ChallengeStatus{Type: acme.HTTP01, State: acme.StateValid, ValidatedAt: &metav1.Time{Time: now}}
			Expect(admin.Status().Update(ctx, a)).To(Succeed())
			return a
		}
		finished, unfinished := proved("good"), proved("pending")
		order(ctx, "good", finished.Name, valid(now.Add(100*time.Hour)))
		order(ctx, "pending", unfinished.Name, v1alpha1.AcmeOrderStatus{State: acme.StatePending})
		clock.Step(59 * time.Minute)
		sweep(ctx)
		Expect(gone(ctx, finished)).To(BeFalse())
		clock.Step(2 * time.Minute)
		sweep(ctx)
		Expect(gone(ctx, finished)).To(BeTrue())
		Expect(gone(ctx, unfinished)).To(BeFalse())
	})

	DescribeTable("finds in a cache what it finds without one", func(ctx SpecContext, of func(namespace string) map[string]cache.Config) {
		old := order(ctx, "expired", "authz-1", valid(now.Add(-2*time.Hour)))
		gone1, kept := authorization(ctx, "authz-old", acme.StateExpired, now.Add(-2*time.Hour)), order(ctx, "good", "authz-2", valid(now.Add(time.Hour)))
		caching, err := cache.New(plane.Config(), cache.Options{Scheme: scheme, DefaultNamespaces: of(namespace)})
		Expect(err).NotTo(HaveOccurred())
		running, stop := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- caching.Start(running) }()
		DeferCleanup(func() { stop(); Expect(<-done).To(Succeed()) })
		reader, err := client.New(plane.Config(), client.Options{Scheme: scheme, Cache: &client.CacheOptions{Reader: caching}})
		Expect(err).NotTo(HaveOccurred())
		for _, object := range []client.Object{old, gone1, kept} {
			Eventually(ctx, func() error {
				return reader.Get(ctx, client.ObjectKeyFromObject(object), object.DeepCopyObject().(client.Object))
			}).Should(Succeed())
		}
		Expect((&retention.Sweeper{Client: reader, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		Expect(gone(ctx, old)).To(BeTrue())
		Expect(gone(ctx, gone1)).To(BeTrue())
		Expect(gone(ctx, kept)).To(BeFalse())
	},
		Entry("of all namespaces", func(string) map[string]cache.Config { return nil }),
		Entry("of some namespaces", func(namespace string) map[string]cache.Config {
			return map[string]cache.Config{namespace: {}, "default": {}}
		}),
	)

	It("leaves an order to its finalizer, which waits for the CRL", func(ctx SpecContext) {
		status := valid(now.Add(-2 * time.Hour))
		status.RevokedAt = &metav1.Time{Time: now}
		o := order(ctx, "revoked", "authz", status)
		o.Finalizers = []string{v1alpha1.RevocationFinalizer}
		Expect(admin.Update(ctx, o)).To(Succeed())
		Expect((&retention.Sweeper{Client: admin, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		Expect(gone(ctx, o)).To(BeFalse())
		Expect(o.DeletionTimestamp).NotTo(BeNil())
		o.Finalizers = nil
		Expect(admin.Update(ctx, o)).To(Succeed())
	})

	It("removes the finalizer from orders that no CRL has to list, as of an earlier version", func(ctx SpecContext) {
		pending := v1alpha1.AcmeOrderStatus{State: acme.StatePending}
		for name, status := range map[string]v1alpha1.AcmeOrderStatus{"valid": valid(now.Add(time.Hour)), "pending": pending} {
			o := order(ctx, name, "authz", status)
			o.Finalizers = []string{v1alpha1.RevocationFinalizer}
			Expect(admin.Update(ctx, o)).To(Succeed())
		}
		Expect((&retention.Sweeper{Client: admin, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		finalizers := func(name string) []string {
			o := &v1alpha1.AcmeOrder{}
			o.Namespace, o.Name = namespace, name
			return fresh(ctx, o).Finalizers
		}
		Expect(finalizers("valid")).To(BeEmpty())
		Expect(finalizers("pending")).To(HaveLen(1), "it is changed by others now")
	})

	It("removes accounts that nobody has used for longer than they are kept", func(ctx SpecContext) {
		unused, deactivated := account(ctx, "unused", acme.StateValid), account(ctx, "deactivated", acme.StateDeactivated)
		revoked, busy := account(ctx, "revoked", acme.StateRevoked), account(ctx, "a", acme.StateValid)
		order(ctx, "good", "authz", valid(now.Add(1000*time.Hour)))
		clock.Step(23 * time.Hour)
		sweep(ctx)
		Expect(gone(ctx, unused)).To(BeFalse())
		clock.Step(2 * time.Hour)
		sweep(ctx)
		Expect(gone(ctx, unused)).To(BeTrue())
		Expect(gone(ctx, deactivated)).To(BeTrue())
		Expect(gone(ctx, revoked)).To(BeFalse(), "a person's ban lasts")
		Expect(gone(ctx, busy)).To(BeFalse(), "it has an order")
	})

	It("counts from an account's last use, which is stored before its last object is removed", func(ctx SpecContext) {
		a := account(ctx, "a", acme.StateValid)
		old := order(ctx, "old", "authz-1", valid(now.Add(30*time.Hour)))
		recent := order(ctx, "recent", "authz-2", valid(now.Add(60*time.Hour)))
		clock.Step(35 * time.Hour)
		sweep(ctx)
		Expect(gone(ctx, old)).To(BeTrue())
		Expect(gone(ctx, a)).To(BeFalse())
		Expect(a.Status.LastUsed).To(BeNil(), "a newer order tells of it")
		clock.Step(35 * time.Hour)
		sweep(ctx)
		Expect(gone(ctx, recent)).To(BeTrue())
		Expect(gone(ctx, a)).To(BeFalse(), "only now it is seen to be unused")
		Expect(a.Status.LastUsed.Time).To(BeTemporally("~", recent.CreationTimestamp.Time, 0))

		a.Status.LastUsed = &metav1.Time{Time: clock.Now().Add(-23 * time.Hour)}
		Expect(admin.Status().Update(ctx, a)).To(Succeed())
		sweep(ctx)
		Expect(gone(ctx, a)).To(BeFalse())
		clock.Step(2 * time.Hour)
		sweep(ctx)
		Expect(gone(ctx, a)).To(BeTrue())
	})

	It("lets claims of keys go after their account, and not before", func(ctx SpecContext) {
		a := account(ctx, "a", acme.StateValid)
		claim, orphan := account(ctx, "claim", v1alpha1.StateClaim, claimFor("a")), account(ctx, "orphan", v1alpha1.StateClaim, claimFor("nobody"))
		sweep(ctx)
		Expect(gone(ctx, orphan)).To(BeFalse(), "what it is for may not be seen yet")
		clock.Step(25 * time.Hour)
		order(ctx, "good", "authz", valid(now.Add(1000*time.Hour)))
		sweep(ctx)
		Expect(gone(ctx, orphan)).To(BeTrue())
		Expect(gone(ctx, claim)).To(BeFalse())
		Expect(admin.Delete(ctx, a)).To(Succeed())
		sweep(ctx)
		Expect(gone(ctx, claim)).To(BeTrue())
	})

	It("keeps an object that has changed since it was read", func(ctx SpecContext) {
		a := account(ctx, "unused", acme.StateValid)
		deleted := 0
		late := interceptor.NewClient(admin, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			if client.ObjectKeyFromObject(object) == client.ObjectKeyFromObject(a) {
				deleted++
				a.Annotations = map[string]string{"changed": "yes"}
				Expect(admin.Update(ctx, a)).To(Succeed())
			}
			return c.Delete(ctx, object, options...)
		}})
		clock.Step(25 * time.Hour)
		Expect((&retention.Sweeper{Client: late, Live: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		Expect(deleted).To(Equal(1))
		Expect(gone(ctx, a)).To(BeFalse())
	})
})
