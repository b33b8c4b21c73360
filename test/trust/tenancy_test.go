package trust

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// tenancy creates a namespace, and a ServiceAccount with every right over the kinds in it, including their status.
func tenancy(ctx context.Context, name string) client.Client {
	GinkgoHelper()
	in := metav1.ObjectMeta{Namespace: name, Name: "tenant"}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&corev1.ServiceAccount{ObjectMeta: in},
		&rbacv1.Role{ObjectMeta: in, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"acmeca.dev"}, Resources: []string{"*"}, Verbs: []string{"*"}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: in, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: name, Name: "tenant"}},
		},
	} {
		Expect(person.Create(ctx, object)).To(Succeed())
	}
	return clientOf(tenantConfig(ctx, name))
}

func tenantConfig(ctx context.Context, namespace string) *rest.Config {
	GinkgoHelper()
	config, err := acmeca.Plane().ServiceAccountConfig(ctx, namespace, "tenant")
	Expect(err).NotTo(HaveOccurred())
	return config
}

func clientOf(config *rest.Config) client.Client {
	GinkgoHelper()
	c, err := client.New(config, client.Options{Scheme: person.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// ready returns the Ready condition of an issuer, once the controllers have reconciled it.
func ready(ctx context.Context, issuer *v1alpha1.AcmeIssuer) *metav1.Condition {
	GinkgoHelper()
	var condition *metav1.Condition
	Eventually(ctx, func() *metav1.Condition {
		condition = meta.FindStatusCondition(refresh(ctx, issuer).Status.Conditions, "Ready")
		return condition
	}).WithTimeout(patience).ShouldNot(BeNil())
	return condition
}

var becomeValid = client.RawPatch(types.MergePatchType, []byte(`{"status": {"state": "valid", "expires": "2099-01-01T00:00:00Z"}}`))

var _ = Describe("Status", func() {
	var authorization *v1alpha1.AcmeAuthorization
	BeforeEach(func(ctx SpecContext) {
		authorization = newParty(ctx).pendingAuthorization(ctx)
	})

	It("is written only by the controllers, regardless of rights", func(ctx SpecContext) {
		issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuerName}}
		account := &v1alpha1.AcmeAccount{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: authorization.Spec.AccountRef.Name}}
		order := newParty(ctx).order(ctx, newName())
		for _, object := range []client.Object{authorization, order.AcmeOrder, refresh(ctx, account), refresh(ctx, issuer)} {
			for _, write := range []error{
				person.Status().Patch(ctx, object.DeepCopyObject().(client.Object), becomeValid),
				person.Status().Update(ctx, object.DeepCopyObject().(client.Object)),
			} {
				Expect(write).To(beForbidden(), "%T", object)
				Expect(write).To(MatchError(ContainSubstring("only acmeca's controllers write status")))
			}
		}
		Expect(refresh(ctx, authorization).Status.State).To(Equal(acme.StatePending))
	}, SpecTimeout(specPatience))

	// grant lets a new ServiceAccount of a namespace write its authorizations' status, and adds a rule for the cluster or the namespace.
	grant := func(ctx context.Context, namespace string, cluster bool, rule rbacv1.PolicyRule) client.Client {
		GinkgoHelper()
		c := tenancy(ctx, namespace)
		in := metav1.ObjectMeta{Namespace: namespace, Name: "more"}
		role, ref := client.Object(&rbacv1.Role{ObjectMeta: in, Rules: []rbacv1.PolicyRule{rule}}), rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "more"}
		subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "tenant"}}
		binding := client.Object(&rbacv1.RoleBinding{ObjectMeta: in, RoleRef: ref, Subjects: subjects})
		if cluster {
			in.Namespace, in.Name, ref.Kind, ref.Name = "", namespace, "ClusterRole", namespace
			role, binding = &rbacv1.ClusterRole{ObjectMeta: in, Rules: []rbacv1.PolicyRule{rule}}, &rbacv1.ClusterRoleBinding{ObjectMeta: in, RoleRef: ref, Subjects: subjects}
		}
		Expect(person.Create(ctx, role)).To(Succeed())
		Expect(person.Create(ctx, binding)).To(Succeed())
		Eventually(ctx, func() bool { // the API server takes a moment
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: in.Namespace, Group: "acmeca.dev", Resource: "decisions", Verb: "make",
			}}}
			return c.Create(ctx, review) == nil && review.Status.Allowed
		}).Should(BeTrue())
		return c
	}
	writes := func(ctx context.Context, c client.Client, namespace string) error {
		GinkgoHelper()
		own := authorization.DeepCopy()
		own.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: "own"}
		Expect(client.IgnoreAlreadyExists(person.Create(ctx, own))).To(Succeed())
		// The controllers may have ended it by now, and its state is final.
		return c.Status().Patch(ctx, own, client.RawPatch(types.MergePatchType, []byte(`{"status": {"expires": "2099-01-01T00:00:00Z"}}`)))
	}
	decisions := func(verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{"acmeca.dev"}, Resources: []string{"decisions"}, Verbs: []string{verb}}
	}

	It("can't be written with a right that holds in a namespace alone", func(ctx SpecContext) {
		Expect(writes(ctx, grant(ctx, "granted-here", false, decisions("make")), "granted-here")).To(MatchError(ContainSubstring("only acmeca's controllers write status")))
	}, SpecTimeout(specPatience))

	It("can't be written with every right in the cluster", func(ctx SpecContext) {
		Expect(writes(ctx, grant(ctx, "granted-all", true, rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}), "granted-all")).To(MatchError(ContainSubstring("only acmeca's controllers write status")))
		Expect(writes(ctx, grant(ctx, "granted-verbs", true, decisions("*")), "granted-verbs")).To(MatchError(ContainSubstring("only acmeca's controllers write status")))
	}, SpecTimeout(specPatience))

	It("is written by the controllers of another installation, which have the right by its name", func(ctx SpecContext) {
		c := grant(ctx, "granted-by-name", true, decisions("make"))
		Expect(writes(ctx, c, "granted-by-name")).To(Succeed())
	}, SpecTimeout(specPatience))

	It("is restored by impersonating the group for restores", func(ctx SpecContext) {
		config := acmeca.Plane().Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: "restorer", Groups: []string{"system:masters", "acmeca.dev:restore"}}
		Expect(clientOf(config).Status().Patch(ctx, authorization, becomeValid)).To(Succeed())
		config.Impersonate.Groups = []string{"system:masters"}
		Expect(clientOf(config).Status().Patch(ctx, authorization, becomeValid)).To(beForbidden())
	}, SpecTimeout(specPatience))
})

var _ = Describe("A tenant with every right over the kinds in its namespace", Ordered, func() {
	const namespace = "tenant"
	var tenant client.Client
	BeforeAll(func(ctx SpecContext) { tenant = tenancy(ctx, namespace) })

	newIssuer := func(ctx context.Context, name string, ca v1alpha1.CertificateAuthority) *v1alpha1.AcmeIssuer {
		GinkgoHelper()
		issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.AcmeIssuerSpec{CA: ca}}
		Expect(tenant.Create(ctx, issuer)).To(Succeed())
		return issuer
	}

	It("cannot make an authorization valid by hand, even at its own issuer", func(ctx SpecContext) {
		Expect(ready(ctx, newIssuer(ctx, "own", v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}})).Status).To(Equal(metav1.ConditionTrue))
		authorization := &v1alpha1.AcmeAuthorization{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-hand"},
			Spec: v1alpha1.AcmeAuthorizationSpec{
				IssuerRef: v1alpha1.ObjectRef{Name: "own"}, AccountRef: v1alpha1.ObjectRef{Name: "whoever"},
				Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "bank.test"},
				Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token-chosen-by-the-tenant"}},
			},
		}
		Expect(tenant.Create(ctx, authorization)).To(Succeed())
		Expect(tenant.Status().Patch(ctx, authorization.DeepCopy(), becomeValid)).To(beForbidden())
		Expect(tenant.Status().Update(ctx, authorization.DeepCopy())).To(beForbidden())
		Expect(refresh(ctx, authorization).Status.State).NotTo(Equal(acme.StateValid))
	}, SpecTimeout(specPatience))

	It("cannot have its issuer sign with another tenant's key, by its name", func(ctx SpecContext) {
		theirs := client.ObjectKey{Namespace: local.Namespace, Name: issuerName + "-intermediate"}
		Expect(person.Get(ctx, theirs, &corev1.Secret{})).To(Succeed())
		condition := ready(ctx, newIssuer(ctx, "by-name", v1alpha1.CertificateAuthority{SecretRef: &v1alpha1.ObjectRef{Name: theirs.Name}}))
		Expect(condition.Status).To(Equal(metav1.ConditionFalse))
		Expect(condition.Message).To(ContainSubstring(`there is no Secret "default-intermediate" in namespace "tenant"`))
	}, SpecTimeout(specPatience))

	DescribeTable("cannot have its issuer sign with another tenant's key", func(ctx SpecContext, secret string) {
		issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "across"}}
		issuer.Spec.CA.SecretRef = &v1alpha1.ObjectRef{Name: secret}
		Expect(tenant.Create(ctx, issuer)).To(MatchError(ContainSubstring("spec.ca.secretRef.name")))
	},
		Entry("by its path", SpecTimeout(specPatience), "../../"+local.Namespace+"/secrets/"+issuerName+"-intermediate"),
		Entry("by its namespace and name", SpecTimeout(specPatience), local.Namespace+"/"+issuerName+"-intermediate"),
	)

	It("cannot name another namespace", func(ctx SpecContext) {
		strict, err := client.New(tenantConfig(ctx, namespace), client.Options{Scheme: person.Scheme(), FieldValidation: "Strict"})
		Expect(err).NotTo(HaveOccurred())
		issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "beyond"}, Spec: v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}}}}
		Expect(tenant.Create(ctx, issuer)).To(Succeed())
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"ca": {"selfSigned": null, "secretRef": {"name": "`+issuerName+`-intermediate", "namespace": "`+local.Namespace+`"}}}}`))
		Expect(strict.Patch(ctx, issuer.DeepCopy(), patch)).To(MatchError(ContainSubstring(`unknown field "spec.ca.secretRef.namespace"`)))
	}, SpecTimeout(specPatience))

	It("gains nothing from the accounts and proofs of another namespace", func(ctx SpecContext) {
		victim := newParty(ctx)
		order := victim.readyOrder(ctx, newName())
		// The objects are copies in another namespace: the issuer has the same name as theirs.
		Expect(ready(ctx, newIssuer(ctx, issuerName, v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}})).Status).To(Equal(metav1.ConditionTrue))
		copied := &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: order.Name}, Spec: *order.Spec.DeepCopy()}
		Expect(tenant.Create(ctx, copied)).To(Succeed())
		stolen := csr(thief, order.Spec.Identifiers[0].Value)
		Expect(writeSpec(ctx, tenant, copied, finalization(victim.finalizes(ctx, order, stolen)))).To(Succeed())
		Consistently(ctx, func() string { return refresh(ctx, copied).Status.Certificate }).WithTimeout(2 * time.Second).Should(BeEmpty())
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))

	It("cannot access objects in other namespaces", func(ctx SpecContext) {
		order := newParty(ctx).order(ctx, newName())
		Expect(tenant.Get(ctx, client.ObjectKeyFromObject(order), &v1alpha1.AcmeOrder{})).To(beForbidden())
		Expect(writeSpec(ctx, tenant, order, map[string]any{"revocation": map[string]any{}})).To(beForbidden())
		Expect(tenant.Delete(ctx, order.AcmeOrder.DeepCopy())).To(beForbidden())
	}, SpecTimeout(specPatience))
})

var _ = Describe("The controllers' ServiceAccount, when captured", func() {
	It("can change only the finalizer of an order", func(ctx SpecContext) {
		order := newParty(ctx).order(ctx, newName())
		patch := func(text string) error {
			return controller.Patch(ctx, order.AcmeOrder.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(text)))
		}
		for _, text := range []string{
			`{"spec": {"revocation": {}}}`,
			`{"metadata": {"labels": {"a": "b"}}}`,
			`{"metadata": {"annotations": {"a": "b"}}}`,
			`{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"}]}}`,
			`{"metadata": {"finalizers": ["acmeca.dev/revocation", "acmeca.dev/mine"]}}`,
		} {
			Expect(patch(text)).To(beForbidden(), text)
		}
		Expect(patch(`{"metadata": {"finalizers": null}}`)).To(Succeed())
		Expect(patch(`{"metadata": {"finalizers": ["acmeca.dev/revocation"]}}`)).To(Succeed())
	}, SpecTimeout(specPatience))

	It("can write only Secrets and ConfigMaps of issuers", func(ctx SpecContext) {
		theirs := metav1.ObjectMeta{Namespace: "default", Name: "theirs"}
		for _, object := range []client.Object{
			&corev1.Secret{ObjectMeta: theirs, StringData: map[string]string{"a": "b"}}, &corev1.ConfigMap{ObjectMeta: theirs},
		} {
			Expect(controller.Create(ctx, object.DeepCopyObject().(client.Object))).To(beForbidden())
			Expect(person.Create(ctx, object)).To(Succeed())
			object.SetLabels(map[string]string{"acmeca.dev/issuer": "default"})
			Expect(controller.Update(ctx, object)).To(beForbidden())
			object.SetName("acmeca-anything") // allowed only in the operator's namespace
			object.SetResourceVersion("")
			object.SetUID("")
			Expect(controller.Create(ctx, object)).To(beForbidden())
		}
	}, SpecTimeout(specPatience))

	It("can delete only the parts of CRLs, and the roots of issuers in other namespaces", func(ctx SpecContext) {
		for name, allowed := range map[string]bool{
			"default-crl-0123456789-1700000000-0": true, "default-crl-0123456789-3-1700000000-12": true,
			"default-crl-0123456789": false, "default-crl-0123456789-3": false, "default-ca": false, "theirs-1-2": false,
			"acmeca-system.default-ca": true, "acmeca-system.unlabelled-ca": false, "default.labelled": false,
		} {
			configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
			if name != "acmeca-system.unlabelled-ca" {
				configMap.Labels = map[string]string{"acmeca.dev/issuer-namespace": "acmeca-system"}
			}
			Expect(person.Create(ctx, configMap)).To(Succeed())
			deleted := controller.Delete(ctx, configMap.DeepCopy())
			if allowed {
				Expect(deleted).To(Succeed(), name)
				continue
			}
			Expect(deleted).To(beForbidden(), name)
			Expect(person.Delete(ctx, configMap)).To(Succeed())
		}
	}, SpecTimeout(specPatience))

	It("can keep the key of a root that was replaced", func(ctx SpecContext) {
		retired := metav1.ObjectMeta{Namespace: "default", Name: "default-root-0123456789"}
		Expect(controller.Create(ctx, &corev1.Secret{ObjectMeta: retired}, client.DryRunAll)).To(Succeed())
		retired.Name = "default-root-0123456789.old"
		Expect(controller.Create(ctx, &corev1.Secret{ObjectMeta: retired}, client.DryRunAll)).To(beForbidden())
	}, SpecTimeout(specPatience))

	It("can bind an external account key, but not change it", func(ctx SpecContext) {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "default-eab-one"}, Type: "acmeca.dev/external-account-key",
			Data: map[string][]byte{"key": []byte("0123456789abcdef0123456789abcdef")},
		}
		Expect(person.Create(ctx, secret)).To(Succeed())
		changed := secret.DeepCopy()
		changed.Data["reusable"] = []byte("true")
		Expect(controller.Update(ctx, changed)).To(beForbidden())
		secret.Annotations = map[string]string{"acmeca.dev/bound-account": "one"}
		Expect(controller.Update(ctx, secret)).To(Succeed())
	}, SpecTimeout(specPatience))
})
