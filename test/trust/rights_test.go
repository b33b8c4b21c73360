package trust

import (
	"context"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

func beForbidden() OmegaMatcher {
	return WithTransform(func(err error) bool { return apierrors.IsForbidden(err) }, BeTrue())
}

// everyones lists the groups and resources that every ServiceAccount may use.
var everyones = []string{"authorization.k8s.io/selfsubjectaccessreviews", "authorization.k8s.io/selfsubjectrulesreviews",
	"authentication.k8s.io/selfsubjectreviews", "certificates.k8s.io/clustertrustbundles"}

// rights lists a client's rights in the operator's namespace, one line for each resource, without the rights of
// everyone.
func rights(ctx context.Context, c client.Client) []string {
	GinkgoHelper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: local.Namespace}}
	Expect(c.Create(ctx, review)).To(Succeed())
	Expect(review.Status.Incomplete).To(BeFalse())
	var lines []string
	for _, rule := range review.Status.ResourceRules {
		Expect(rule.APIGroups).To(HaveLen(1))
		for _, resource := range rule.Resources {
			if !slices.Contains(everyones, rule.APIGroups[0]+"/"+resource) {
				lines = append(lines, fmt.Sprintf("%s %v", resource, rule.Verbs))
			}
		}
	}
	return lines
}

var _ = Describe("The ACME server's ServiceAccount", func() {
	var victim *party
	var order pursuit
	var authorization *v1alpha1.AcmeAuthorization
	BeforeEach(func(ctx SpecContext) {
		victim = newParty(ctx)
		order = victim.readyOrder(ctx, newName())
		authorization = authorizations(ctx, order)[0]
	})

	It("has only the rights that it needs", func(ctx SpecContext) {
		Expect(rights(ctx, server)).To(ConsistOf(
			"acmeaccounts [create get list patch watch]",
			"acmeauthorizations [create get list patch watch]",
			"acmeorders [create get list patch watch]",
			"acmeissuers [list watch]",
			"configmaps [get]",
		))
	}, SpecTimeout(specPatience))

	It("cannot write any status", func(ctx SpecContext) {
		issuer := refresh(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuerName}})
		for _, object := range []client.Object{order.AcmeOrder, authorization, victim.account(ctx), issuer} {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"status": {"state": "valid"}}`))
			Expect(server.Status().Patch(ctx, object.DeepCopyObject().(client.Object), patch)).To(beForbidden())
			Expect(server.Status().Update(ctx, object.DeepCopyObject().(client.Object))).To(beForbidden())
		}
		// A patch of the object itself does not change the status.
		patch := client.RawPatch(types.MergePatchType, []byte(`{"status": {"state": "valid", "certificate": "forged"}}`))
		Expect(server.Patch(ctx, order.AcmeOrder.DeepCopy(), patch)).To(Succeed())
		Expect(refresh(ctx, order.AcmeOrder).Status.State).NotTo(Equal(acme.StateValid))
		Expect(order.Status.Certificate).To(BeEmpty())
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))

	It("cannot read or create a Secret", func(ctx SpecContext) {
		for _, name := range []string{issuerName + "-root", issuerName + "-intermediate", issuerName + "-serial", "acmeca-server-tls"} {
			key := client.ObjectKey{Namespace: local.Namespace, Name: name}
			Expect(person.Get(ctx, key, &corev1.Secret{})).To(Succeed())
			Expect(server.Get(ctx, key, &corev1.Secret{})).To(beForbidden())
		}
		Expect(server.List(ctx, &corev1.SecretList{}, client.InNamespace(local.Namespace))).To(beForbidden())
		Expect(server.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "mine"}})).To(beForbidden())
	}, SpecTimeout(specPatience))

	It("cannot change or create an issuer", func(ctx SpecContext) {
		issuer := refresh(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuerName}})
		Expect(writeSpec(ctx, server, issuer, map[string]any{"suspend": true})).To(beForbidden())
		Expect(server.Update(ctx, issuer.DeepCopy())).To(beForbidden())
		Expect(server.Delete(ctx, issuer.DeepCopy())).To(beForbidden())
		mine := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: "mine"}, Spec: issuer.Spec}
		Expect(server.Create(ctx, mine)).To(beForbidden())
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))

	It("cannot delete anything", func(ctx SpecContext) {
		for _, object := range []client.Object{order.AcmeOrder, authorization, victim.account(ctx)} {
			Expect(server.Delete(ctx, object.DeepCopyObject().(client.Object))).To(beForbidden())
			Expect(server.DeleteAllOf(ctx, object.DeepCopyObject().(client.Object), client.InNamespace(local.Namespace))).To(beForbidden())
		}
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))

	DescribeTable("cannot control the life of an object", func(ctx SpecContext, metadata string) {
		for _, object := range []client.Object{order.AcmeOrder, authorization, victim.account(ctx)} {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": `+metadata+`}`))
			err := server.Patch(ctx, object.DeepCopyObject().(client.Object), patch)
			Expect(err).To(MatchError(ContainSubstring("the ACME server may not set")), "%T", object)
		}
		victim.finalize(ctx, order)
	},
		Entry("with a finalizer", SpecTimeout(specPatience), `{"finalizers": ["acmeca.dev/mine"]}`),
		Entry("with the finalizer of orders and another one", SpecTimeout(specPatience), `{"finalizers": ["acmeca.dev/revocation", "acmeca.dev/mine"]}`),
		Entry("with an owner", SpecTimeout(specPatience), `{"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "a"}]}`),
	)

	It("cannot keep an order by the finalizer without a revocation", func(ctx SpecContext) {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": ["acmeca.dev/revocation"]}}`))
		Expect(server.Patch(ctx, order.AcmeOrder.DeepCopy(), patch)).To(MatchError(ContainSubstring("the ACME server may not set")))
	}, SpecTimeout(specPatience))

	It("cannot remove the finalizer of an order", func(ctx SpecContext) {
		kept := refresh(ctx, order.AcmeOrder)
		kept.Finalizers = []string{v1alpha1.RevocationFinalizer}
		Expect(person.Update(ctx, kept)).To(Succeed())
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`))
		Expect(server.Patch(ctx, order.AcmeOrder.DeepCopy(), patch)).To(MatchError(ContainSubstring("the ACME server may not set")))
	}, SpecTimeout(specPatience))

	It("cannot create objects that end themselves, or that cannot be ended", func(ctx SpecContext) {
		withFinalizer := order.AcmeOrder.DeepCopy()
		withFinalizer.ObjectMeta = metav1.ObjectMeta{Namespace: local.Namespace, Name: "planted-finalizer", Finalizers: []string{"acmeca.dev/mine"}}
		withOwner := order.AcmeOrder.DeepCopy()
		withOwner.ObjectMeta = metav1.ObjectMeta{Namespace: local.Namespace, Name: "planted-owner", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: "mine", UID: "a",
		}}}
		for _, object := range []client.Object{withFinalizer, withOwner} {
			Expect(server.Create(ctx, object)).To(MatchError(ContainSubstring("the ACME server may not set")))
		}
		ended := accountFor(certificates.NewKey())
		ended.Namespace = local.Namespace
		ended.Spec.Registration = sign(victim.Key, jwk(victim.Key), acme.NewAccountPath, struct{}{})
		ended.Spec.Deactivation = &v1alpha1.Deactivation{}
		Expect(server.Create(ctx, ended)).To(MatchError(ContainSubstring("the ACME server may request a deactivation only with a client's signed request")))
	}, SpecTimeout(specPatience))

	It("cannot change an order's request", func(ctx SpecContext) {
		thirdParty := newParty(ctx)
		for member, value := range map[string]any{
			"accountRef":     map[string]any{"name": thirdParty.account(ctx).Name},
			"issuerRef":      map[string]any{"name": "nobody"},
			"identifiers":    []v1alpha1.Identifier{{Type: acme.DNS, Value: newName()}},
			"authorizations": []string{"another"},
			"profile":        "another",
			"notAfter":       "2099-01-01T00:00:00Z",
		} {
			Expect(writeSpec(ctx, server, order, map[string]any{member: value})).To(MatchError(ContainSubstring("immutable")), member)
		}
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))
})

var _ = Describe("The controllers' ServiceAccount", func() {
	It("cannot create requests of clients", func(ctx SpecContext) {
		order := newParty(ctx).order(ctx, newName())
		authorization := newParty(ctx).pendingAuthorization(ctx)
		account := accountFor(certificates.NewKey())
		account.Spec.KeyClaimFor = "another"
		for _, object := range []client.Object{order.AcmeOrder, authorization, account} {
			planted := object.DeepCopyObject().(client.Object)
			planted.SetNamespace(local.Namespace)
			planted.SetName("planted-by-controllers")
			planted.SetResourceVersion("")
			Expect(controller.Create(ctx, planted)).To(beForbidden())
		}
		Expect(writeSpec(ctx, controller, authorization, map[string]any{"deactivation": map[string]any{}})).To(beForbidden())
	}, SpecTimeout(specPatience))

	It("cannot change more of an issuer than its finalizer", func(ctx SpecContext) {
		issuer := refresh(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuerName}})
		Expect(issuer.Finalizers).To(ContainElement(v1alpha1.IssuerFinalizer))
		Expect(writeSpec(ctx, controller, issuer, map[string]any{"suspend": true})).To(MatchError(ContainSubstring("may not change the spec, labels, annotations or owners")))
		for _, metadata := range []string{
			`{"annotations": {"acmeca.dev/rotate-root": "now"}}`, `{"labels": {"mine": "yes"}}`, `{"finalizers": ["acmeca.dev/issuer", "acmeca.dev/mine"]}`,
			`{"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "a"}]}`,
		} {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": `+metadata+`}`))
			Expect(controller.Patch(ctx, issuer.DeepCopy(), patch)).To(MatchError(Or(ContainSubstring("may not change the spec, labels, annotations or owners"), ContainSubstring("the controllers may change only the finalizers"))), metadata)
		}
		Expect(controller.Delete(ctx, issuer.DeepCopy())).To(beForbidden())
	}, SpecTimeout(specPatience))

	It("cannot list Secrets, whose names it must know", func(ctx SpecContext) {
		Expect(controller.List(ctx, &corev1.SecretList{}, client.InNamespace(local.Namespace))).To(beForbidden())
	}, SpecTimeout(specPatience))

	It("cannot run anything, nor impersonate another account", func(ctx SpecContext) {
		Expect(rights(ctx, controller)).NotTo(ContainElement(MatchRegexp(`^(\*|pods|deployments|serviceaccounts|roles|rolebindings|clusterroles)`)))
	}, SpecTimeout(specPatience))
})
