// Package validation proves control of names against real servers: bind9 with dynamic updates, nginx, TLS-ALPN
// responders, and validators and proxies in network namespaces. The tests of controllers/validation have hostile
// servers and need none of these.
package validation

import (
	"context"
	"crypto/x509"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestValidation(t *testing.T) { suite.Run(t, "Validation") }

var (
	acmeca  *local.Local
	cluster client.Client // with every right
)

var _ = BeforeSuite(func(ctx SpecContext) {
	acmeca = suite.Start(ctx)
	cluster = acmeca.Client()
})

var _ = suite.ShowLog(&acmeca)

// issuer is a ready AcmeIssuer.
type issuer struct {
	*v1alpha1.AcmeIssuer
}

// newIssuer creates an issuer, which validates on loopback, and waits until it can issue.
func newIssuer(ctx context.Context, name string, edit func(*v1alpha1.AcmeIssuerSpec)) issuer {
	GinkgoHelper()
	object := &v1alpha1.AcmeIssuer{}
	object.Namespace, object.Name = local.Namespace, name
	object.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: name}
	object.Spec.Validation.AllowedCIDRs = []string{"127.0.0.0/8"}
	edit(&object.Spec)
	Expect(cluster.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cluster.Delete(ctx, object)).To(Succeed()) })
	i := issuer{object}
	i.waitUntilReady(ctx)
	return i
}

func (i issuer) waitUntilReady(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(i), i.AcmeIssuer)).To(Succeed())
		ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.ObservedGeneration).To(Equal(i.Generation))
		g.Expect(ready.Status).To(BeEquivalentTo("True"), ready.Message)
	}, "20s", "50ms").Should(Succeed())
}

// change edits the issuer's spec, and waits until the change is observed.
func (i issuer) change(ctx context.Context, edit func(*v1alpha1.AcmeIssuerSpec)) {
	GinkgoHelper()
	base := i.DeepCopy()
	edit(&i.Spec)
	Expect(cluster.Patch(ctx, i.AcmeIssuer, client.MergeFrom(base))).To(Succeed())
	i.waitUntilReady(ctx)
}

// directory returns the directory's URL on the operator's own base.
func (i issuer) directory() string { return acmeca.BaseURL() + i.directoryPath() }

func (i issuer) directoryPath() string {
	return "/" + i.Namespace + "/" + i.Name + "/acme/directory"
}

// verify verifies a chain as a TLS client of the issuer does.
func (i issuer) verify(chain []*x509.Certificate, names ...string) {
	GinkgoHelper()
	certificates.Verify(chain, certificates.Pool([]byte(i.Status.CABundle)), names...)
}

// authorizationsFor returns the authorizations for a name, the newest last.
func authorizationsFor(ctx context.Context, i issuer, name string) []v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	var list v1alpha1.AcmeAuthorizationList
	Expect(cluster.List(ctx, &list, client.InNamespace(i.Namespace))).To(Succeed())
	var found []v1alpha1.AcmeAuthorization
	for _, authz := range list.Items {
		if authz.Spec.IssuerRef.Name == i.Name && authz.Spec.Identifier.Value == name {
			found = append(found, authz)
		}
	}
	return found
}
