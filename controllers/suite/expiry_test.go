package suite

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/authorization"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/order"
)

var _ = Describe("What a client doesn't finish", func() {
	It("fails once it expires, and not a moment before (RFC 8555 section 7.1.6 and 7.4)", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		lifetimes := v1alpha1.Lifetimes{Order: metav1.Duration{Duration: time.Hour}, PendingAuthorization: metav1.Duration{Duration: 2 * time.Hour}}
		loaded := &issuers.Registry{}
		loaded.Put(client.ObjectKey{Namespace: namespace, Name: "ca"}, &issuers.Issuer{Name: "ca", Spec: v1alpha1.AcmeIssuerSpec{Lifetimes: lifetimes}})
		name := acme.Identifier{Type: acme.DNS, Value: "a.test"}
		authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "a"}, Identifier: v1alpha1.Identifier(name),
			Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("t", 43)}},
		}}
		authz.Namespace, authz.Name = namespace, newName()
		Expect(admin.Create(ctx, authz)).To(Succeed())
		unfinished := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: authz.Spec.IssuerRef, AccountRef: authz.Spec.AccountRef,
			Identifiers: []v1alpha1.Identifier{authz.Spec.Identifier}, Authorizations: []string{authz.Name},
		}}
		unfinished.Namespace, unfinished.Name = namespace, newName()
		Expect(admin.Create(ctx, unfinished)).To(Succeed())

		clock := testingclock.NewFakeClock(unfinished.CreationTimestamp.Time)
		recorder := events.NewFakeRecorder(8)
		orders := &order.Reconciler{Client: admin, Live: admin, Issuers: loaded, CAA: attempts.NewCAAChecks(nil, clock, nil), Replacements: &order.Replacements{}, Events: recorder, Clock: clock}
		authorizations := &authorization.Reconciler{Client: admin, Issuers: loaded, Attempts: attempts.New(nil, clock, nil), Events: recorder, Clock: clock}
		at := func(after time.Duration) (acme.State, acme.State) {
			GinkgoHelper()
			clock.SetTime(unfinished.CreationTimestamp.Add(after)) // each object counts from its own creation, in whole seconds
			_, err := orders.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(unfinished)})
			Expect(err).NotTo(HaveOccurred())
			clock.SetTime(authz.CreationTimestamp.Add(after))
			_, err = authorizations.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(authz)})
			Expect(err).NotTo(HaveOccurred())
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(unfinished), unfinished)).To(Succeed())
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(authz), authz)).To(Succeed())
			return unfinished.Status.State, authz.Status.State
		}
		for _, c := range []struct {
			after        time.Duration
			order, authz acme.State
		}{
			{time.Hour - time.Second, acme.StatePending, acme.StatePending},
			{time.Hour, acme.StateInvalid, acme.StatePending},
			{2*time.Hour - time.Second, acme.StateInvalid, acme.StatePending},
			{2 * time.Hour, acme.StateInvalid, acme.StateInvalid},
		} {
			orderState, authzState := at(c.after)
			Expect(orderState).To(Equal(c.order), "%s", c.after)
			Expect(authzState).To(Equal(c.authz), "%s", c.after)
		}
		Expect(unfinished.Status.Problem.Detail).To(ContainSubstring("expired"))
		Expect(authz.Status.Problem.Detail).To(ContainSubstring("in time"))
	})
})
