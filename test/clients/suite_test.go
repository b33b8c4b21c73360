// Package clients tests acmeca with the clients that people use: over the network, with a real control plane. The
// specs check the client's certificate and the resources that kubectl shows.
package clients

import (
	"context"
	"crypto/x509"
	"slices"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestClients(t *testing.T) { suite.Run(t, "Clients") }

var (
	acmeca  *local.Local
	cluster client.Client // with every right
)

var _ = BeforeSuite(func(ctx SpecContext) {
	acmeca = suite.Start(ctx)
	cluster = acmeca.Client()
})

var _ = suite.ShowLog(&acmeca)

// opensslVerify verifies a chain with openssl, which is independent of Go's verification.
func opensslVerify(ctx context.Context, chainFile, name string) {
	GinkgoHelper()
	programs.Run(ctx, nil, "openssl", "verify", "-CAfile", acmeca.CAFile(), "-untrusted", chainFile,
		"-purpose", "sslserver", "-verify_hostname", name, "-x509_strict", chainFile)
}

func readLeaf(file string) *x509.Certificate {
	GinkgoHelper()
	return certificates.Read(file)[0]
}

func verify(chain []*x509.Certificate, names ...string) {
	GinkgoHelper()
	certificates.Verify(chain, suite.Roots(acmeca), names...)
}

// ordersFor returns the orders for exactly that name.
func ordersFor(ctx context.Context, name string) []v1alpha1.AcmeOrder {
	GinkgoHelper()
	var all v1alpha1.AcmeOrderList
	Expect(cluster.List(ctx, &all, client.InNamespace(local.Namespace))).To(Succeed())
	var orders []v1alpha1.AcmeOrder
	for _, order := range all.Items {
		named := func(id v1alpha1.Identifier) bool { return id.Value == name }
		if slices.ContainsFunc(order.Spec.Identifiers, named) {
			orders = append(orders, order)
		}
	}
	return orders
}

func accountOf(ctx context.Context, order v1alpha1.AcmeOrder) v1alpha1.AcmeAccount {
	GinkgoHelper()
	var account v1alpha1.AcmeAccount
	key := client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}
	Expect(cluster.Get(ctx, key, &account)).To(Succeed())
	return account
}
