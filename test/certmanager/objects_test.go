package certmanager

import (
	"context"
	"crypto/x509"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// This module does not depend on cert-manager's types, so its objects are unstructured here.

func get(ctx context.Context, version, kind, namespace, name string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(version)
	object.SetKind(kind)
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)).To(Succeed())
	return object
}

// field returns a string of an object, or "" if there is none.
func field(object *unstructured.Unstructured, path ...string) string {
	text, _, _ := unstructured.NestedString(object.Object, path...)
	return text
}

// conditionIsTrue reports whether an object has a condition that is true.
func conditionIsTrue(object *unstructured.Unstructured, name string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(condition any) bool {
		fields, ok := condition.(map[string]any)
		return ok && fields["type"] == name && fields["status"] == "True"
	})
}

// certificate is a request of a spec to cert-manager.
type certificate struct {
	name, kind, issuer string
	dnsNames           []string
}

func applyCertificate(ctx context.Context, c certificate) {
	GinkgoHelper()
	names := make([]any, len(c.dnsNames))
	for i, name := range c.dnsNames {
		names[i] = name
	}
	spec := map[string]any{
		"secretName": c.name + "-tls",
		"dnsNames":   names,
		"privateKey": map[string]any{"algorithm": "ECDSA", "size": int64(256)},
		"issuerRef":  map[string]any{"kind": c.kind, "name": c.issuer},
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetAPIVersion("cert-manager.io/v1")
	object.SetKind("Certificate")
	object.SetNamespace(team)
	object.SetName(c.name)
	Expect(cluster.Create(ctx, object)).To(Succeed())
}

func deleteCertificate(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(cluster.Delete(ctx, get(ctx, "cert-manager.io/v1", "Certificate", team, name))).To(Succeed())
}

// certManagerOrders returns cert-manager's Orders for a Certificate.
func certManagerOrders(ctx context.Context, name string) []unstructured.Unstructured {
	GinkgoHelper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("acme.cert-manager.io/v1")
	list.SetKind("OrderList")
	Expect(cluster.List(ctx, list, client.InNamespace(team))).To(Succeed())
	return slices.DeleteFunc(list.Items, func(order unstructured.Unstructured) bool {
		return order.GetAnnotations()["cert-manager.io/certificate-name"] != name
	})
}

// secretChain returns the chain in a Secret of the team.
func secretChain(ctx context.Context, name string) []*x509.Certificate {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: team, Name: name}, secret)).To(Succeed())
	return certificates.Parse(secret.Data[corev1.TLSCertKey])
}

// trustedBy returns the roots of an AcmeIssuer.
func trustedBy(ctx context.Context, issuer string) *x509.CertPool {
	GinkgoHelper()
	return certificates.Pool([]byte(acmeIssuer(ctx, issuer).Status.CABundle))
}

func acmeIssuer(ctx context.Context, name string) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, issuer)).To(Succeed())
	return issuer
}

// changeIssuer edits an AcmeIssuer's spec, and waits until the change is observed.
func changeIssuer(ctx context.Context, name string, edit func(*v1alpha1.AcmeIssuerSpec)) {
	GinkgoHelper()
	issuer := acmeIssuer(ctx, name)
	base := issuer.DeepCopy()
	edit(&issuer.Spec)
	Expect(cluster.Patch(ctx, issuer, client.MergeFrom(base))).To(Succeed())
	waitUntilObserved(ctx, name)
}

// waitUntilObserved waits until the controllers have observed the current generation of an AcmeIssuer.
func waitUntilObserved(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		issuer := acmeIssuer(ctx, name)
		ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.ObservedGeneration).To(Equal(issuer.Generation))
		want := metav1.ConditionTrue
		if issuer.Spec.Suspend {
			want = metav1.ConditionFalse
		}
		g.Expect(ready.Status).To(Equal(want), ready.Message)
	}, "60s", "50ms").Should(Succeed())
}

// accountsWith returns the AcmeAccounts whose only contact is this one.
func accountsWith(ctx context.Context, contact string) []v1alpha1.AcmeAccount {
	GinkgoHelper()
	var list v1alpha1.AcmeAccountList
	Expect(cluster.List(ctx, &list, client.InNamespace(local.Namespace))).To(Succeed())
	return slices.DeleteFunc(list.Items, func(account v1alpha1.AcmeAccount) bool {
		return !slices.Equal(account.Status.Contact, []string{contact})
	})
}

// validOrders counts the valid AcmeOrders by their first name.
func validOrders(ctx context.Context) map[string]int {
	GinkgoHelper()
	var list v1alpha1.AcmeOrderList
	Expect(cluster.List(ctx, &list, client.InNamespace(local.Namespace))).To(Succeed())
	count := map[string]int{}
	for _, order := range list.Items {
		if order.Status.State == acme.StateValid {
			count[order.Spec.Identifiers[0].Value]++
		}
	}
	return count
}
