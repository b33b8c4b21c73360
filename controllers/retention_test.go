package controllers

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
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
			CA:        v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}},
			Retention: v1alpha1.Retention{Orders: metav1.Duration{Duration: time.Hour}},
		}}
		issuer.Namespace, issuer.Name = namespace, "ca"
		Expect(admin.Create(ctx, issuer)).To(Succeed())
	})

	make := func(ctx SpecContext, object client.Object, status func()) {
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
		make(ctx, o, func() { o.Status = status })
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
		make(ctx, a, func() { a.Status = v1alpha1.AcmeAuthorizationStatus{State: state, Expires: &at} })
		return a
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

	It("removes what was over for longer than it is kept, and nothing else", func(ctx SpecContext) {
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
		Expect((&Retention{Client: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		for _, object := range over {
			Expect(gone(ctx, object)).To(BeTrue(), object.GetName())
		}
		for _, object := range kept {
			Expect(gone(ctx, object)).To(BeFalse(), object.GetName())
		}

		clock.Step(3 * time.Hour)
		Expect((&Retention{Client: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		Expect(gone(ctx, kept[1])).To(BeTrue(), "the certificate has expired since")
		Expect(gone(ctx, kept[2])).To(BeFalse(), "an unfinished order ends first, by expiring")
	})

	It("leaves an order to its finalizer, which waits for the CRL", func(ctx SpecContext) {
		o := order(ctx, "revoked", "authz", valid(now.Add(-2*time.Hour)))
		o.Finalizers = []string{v1alpha1.RevocationFinalizer}
		Expect(admin.Update(ctx, o)).To(Succeed())
		Expect((&Retention{Client: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		Expect(gone(ctx, o)).To(BeFalse())
		Expect(o.DeletionTimestamp).NotTo(BeNil())
		o.Finalizers = nil
		Expect(admin.Update(ctx, o)).To(Succeed())
	})

	It("removes the claims of keys for an account that is gone, and no others", func(ctx SpecContext) {
		account := func(name, claimFor string) *v1alpha1.AcmeAccount {
			a := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, JWK: "{}", KeyClaimFor: claimFor}}
			if claimFor == "" {
				a.Spec.Registration = &v1alpha1.SignedRequest{Protected: "a", Payload: "b", Signature: "c"}
			}
			a.Name = name
			make(ctx, a, func() { a.Status.State = v1alpha1.StateClaim })
			return a
		}
		there, kept, orphaned := account("there", ""), account("kept", "there"), account("orphaned", "gone")
		sweep := func() {
			GinkgoHelper()
			Expect((&Retention{Client: admin, Clock: clock}).Sweep(ctx)).To(Succeed())
		}
		sweep()
		Expect(gone(ctx, orphaned)).To(BeFalse(), "it may be under way")
		clock.Step(2 * time.Hour)
		sweep()
		Expect(gone(ctx, orphaned)).To(BeTrue())
		Expect(gone(ctx, kept)).To(BeFalse())
		Expect(gone(ctx, there)).To(BeFalse())
	})
})
