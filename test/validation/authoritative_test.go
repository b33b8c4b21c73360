package validation

import (
	"context"
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/test/internal/named"
)

// The authoritative server is at port 53 of an address, as in a real network, so a validator is run instead of the operator: its
// connections to that address lead to bind9.
var _ = Describe("A dns-01 record that was queried too early", func() {
	named.Need()

	It("is seen at the zone's authoritative server, while bind9 as a resolver still denies it", func(ctx SpecContext) {
		const address = "192.0.2.53:53"
		zone := named.StartZone("early.test", 10800, "ns A 192.0.2.53")
		resolver := named.StartResolver(zone)
		dial := func(ctx context.Context, network, target string) (net.Conn, error) {
			if target == address {
				target = zone.Address()
			}
			return new(net.Dialer).DialContext(ctx, network, target)
		}
		validate := func(resolversOnly bool) validation.Result {
			v, err := validation.New(validation.Config{Resolvers: []string{resolver.Address()}, ResolversOnly: resolversOnly, DialDNS: dial})
			Expect(err).NotTo(HaveOccurred())
			return v.Validate(ctx, validation.Request{
				Identifier: acme.Identifier{Type: acme.DNS, Value: "app.early.test"}, Type: acme.DNS01, Token: "token", Thumbprint: "thumbprint",
			})
		}
		early := validate(false)
		Expect(early.Valid).To(BeFalse())
		Expect(early.Transient).To(BeTrue())
		Expect(early.Record).To(And(HaveField("AuthoritativeServer", address), HaveField("Resolver", resolver.Address())))

		zone.AddTXT(ctx, "_acme-challenge.app.early.test", acme.DNS01Digest(acme.KeyAuthorization("token", "thumbprint")))
		Expect(validate(true).Problem).To(HaveField("Detail", ContainSubstring("NXDOMAIN from "+resolver.Address())))
		late := validate(false)
		Expect(late.Problem).To(BeNil())
		Expect(late.Record).To(And(HaveField("AuthoritativeServer", address), HaveField("Resolver", "")))
	}, SpecTimeout(time.Minute))
})
