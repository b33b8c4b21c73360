package clients

import (
	"context"
	"math/big"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var _ = Describe("certbot", Ordered, func() {
	programs.Need("certbot", "certbot")
	programs.Need("openssl", "openssl")

	const name = "hello.test"
	var dir string
	BeforeAll(func() { dir = GinkgoT().TempDir() })
	certbot := func(ctx context.Context, args ...string) {
		GinkgoHelper()
		args = append(args, "--non-interactive", "--server", acmeca.DirectoryURL(),
			"--config-dir", dir, "--work-dir", dir, "--logs-dir", filepath.Join(dir, "logs"))
		programs.Run(ctx, []string{"REQUESTS_CA_BUNDLE=" + acmeca.CAFile()}, "certbot", args...)
	}
	live := func(file string) string { return filepath.Join(dir, "live", name, file) }

	It("registers an account", func(ctx SpecContext) {
		certbot(ctx, "register", "--agree-tos", "--email", "admin@hello.test", "--no-eff-email")
	}, SpecTimeout(time.Minute))

	It("obtains a certificate by http-01", func(ctx SpecContext) {
		certbot(ctx, "certonly", "--standalone", "--http-01-port", strconv.Itoa(acmeca.Ports().HTTP01), "-d", name)
		opensslVerify(ctx, live("fullchain.pem"), name)

		order := suite.OrderOf(ctx, cluster, readLeaf(live("cert.pem")))
		Expect(order.Status.State).To(Equal(acme.StateValid))
		account := accountOf(ctx, order)
		Expect(account.Status.State).To(Equal(acme.StateValid))
		Expect(account.Spec.Contact).To(ConsistOf("mailto:admin@hello.test"))
	}, SpecTimeout(time.Minute))

	It("renews it", func(ctx SpecContext) {
		before := readLeaf(live("cert.pem"))
		certbot(ctx, "renew", "--force-renewal", "--no-random-sleep-on-renew")
		after := readLeaf(live("cert.pem"))
		opensslVerify(ctx, live("fullchain.pem"), name)

		Expect(after.SerialNumber).NotTo(Equal(before.SerialNumber))
		Expect(ordersFor(ctx, name)).To(HaveLen(2))
		Expect(suite.OrderOf(ctx, cluster, after).Spec.AccountRef).To(Equal(suite.OrderOf(ctx, cluster, before).Spec.AccountRef))
	}, SpecTimeout(time.Minute))

	It("obtains a certificate with several names", func(ctx SpecContext) {
		certbot(ctx, "certonly", "--standalone", "--http-01-port", strconv.Itoa(acmeca.Ports().HTTP01),
			"--cert-name", "several", "-d", "a.several.test,b.several.test,several.test")
		chain := filepath.Join(dir, "live", "several", "fullchain.pem")
		for _, name := range []string{"a.several.test", "b.several.test", "several.test"} {
			opensslVerify(ctx, chain, name)
		}
	}, SpecTimeout(time.Minute))

	It("changes the account's contact", func(ctx SpecContext) {
		certbot(ctx, "update_account", "--email", "other@hello.test", "--no-eff-email")
		account := accountOf(ctx, suite.OrderOf(ctx, cluster, readLeaf(live("cert.pem"))))
		Expect(account.Status.Contact).To(ConsistOf("mailto:other@hello.test"))
	}, SpecTimeout(time.Minute))

	It("revokes with the account's key, and keeps other certificates valid", func(ctx SpecContext) {
		revoked := readLeaf(filepath.Join(dir, "live", "several", "cert.pem"))
		certbot(ctx, "revoke", "--cert-name", "several", "--reason", "superseded", "--no-delete-after-revoke")
		Expect(suite.OrderOf(ctx, cluster, revoked).Status.RevokedAt).NotTo(BeNil())
		Expect(suite.OrderOf(ctx, cluster, revoked).Spec.Revocation.Reason).To(Equal(4))
		Expect(suite.OrderOf(ctx, cluster, readLeaf(live("cert.pem"))).Status.RevokedAt).To(BeNil())
		Eventually(func() []*big.Int { return certificates.Listed(ctx, revoked) }, "10s").Should(ContainElement(revoked.SerialNumber))
		Expect(certificates.Listed(ctx, readLeaf(live("cert.pem")))).NotTo(ContainElement(readLeaf(live("cert.pem")).SerialNumber))
	}, SpecTimeout(time.Minute))

	It("revokes with the certificate's own key", func(ctx SpecContext) {
		revoked := readLeaf(live("cert.pem"))
		certbot(ctx, "revoke", "--cert-path", live("cert.pem"), "--key-path", live("privkey.pem"), "--reason", "keycompromise", "--no-delete-after-revoke")
		Expect(suite.OrderOf(ctx, cluster, revoked).Status.RevokedAt).NotTo(BeNil())
		Expect(suite.OrderOf(ctx, cluster, revoked).Spec.Revocation.Reason).To(Equal(1))
	}, SpecTimeout(time.Minute))

	It("unregisters: the account stays, deactivated", func(ctx SpecContext) {
		order := suite.OrderOf(ctx, cluster, readLeaf(live("cert.pem")))
		certbot(ctx, "unregister")
		Expect(accountOf(ctx, order).Status.State).To(Equal(acme.StateDeactivated))
	}, SpecTimeout(time.Minute))
})
