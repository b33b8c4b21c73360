package run

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var _ = Describe("the ACME server's TLS certificate", func() {
	It("gets a name that the issuer declares, without a restart, and before the Secret is mounted again", func(ctx SpecContext) {
		acmeca := suite.Start(ctx)
		acmeca.FreezeVolumes()
		const name = "acme.corp.test"
		connect := func(name string) error {
			address := strings.TrimPrefix(acmeca.BaseURL(), "https://")
			connection, err := tls.Dial("tcp", address, &tls.Config{RootCAs: suite.Roots(acmeca), ServerName: name})
			if err != nil {
				return err
			}
			return connection.Close()
		}
		Expect(connect(name)).To(MatchError(ContainSubstring("certificate")))
		Expect(connect("localhost")).To(Succeed())

		issuer := &v1alpha1.AcmeIssuer{}
		issuer.Namespace, issuer.Name = local.Namespace, "default"
		patch := fmt.Sprintf(`{"spec":{"externalURLs":[%q,"https://%s"]}}`, acmeca.BaseURL(), name)
		Expect(acmeca.Client().Patch(ctx, issuer, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
		Eventually(ctx, connect, time.Minute).WithArguments(name).Should(Succeed())
	}, SpecTimeout(2*time.Minute))
})
