package clients

import (
	"context"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var _ = Describe("lego", Ordered, func() {
	programs.Need("lego", "lego")
	programs.Need("openssl", "openssl")

	const name = "lego.test"
	var dir string
	BeforeAll(func() { dir = GinkgoT().TempDir() })
	lego := func(ctx context.Context, command ...string) {
		GinkgoHelper()
		args := append([]string{"--path", dir, "--server", acmeca.DirectoryURL(), "--email", "admin@lego.test", "--accept-tos",
			"--http", "--http.port", ":" + strconv.Itoa(acmeca.Ports().HTTP01), "--domains", name}, command...)
		programs.Run(ctx, []string{"LEGO_CA_CERTIFICATES=" + acmeca.CAFile()}, "lego", args...)
	}
	chain := func() string { return filepath.Join(dir, "certificates", name+".crt") }

	It("registers and obtains a certificate by http-01", func(ctx SpecContext) {
		lego(ctx, "run")
		opensslVerify(ctx, chain(), name)

		order := suite.OrderOf(ctx, cluster, readLeaf(chain()))
		Expect(order.Status.State).To(Equal(acme.StateValid))
		Expect(accountOf(ctx, order).Spec.Contact).To(ConsistOf("mailto:admin@lego.test"))
	}, SpecTimeout(time.Minute))

	It("renews it", func(ctx SpecContext) {
		before := readLeaf(chain())
		lego(ctx, "renew", "--days", "3650", "--no-random-sleep")
		after := readLeaf(chain())
		opensslVerify(ctx, chain(), name)

		Expect(after.SerialNumber).NotTo(Equal(before.SerialNumber))
		Expect(ordersFor(ctx, name)).To(HaveLen(2))
	}, SpecTimeout(time.Minute))
})
