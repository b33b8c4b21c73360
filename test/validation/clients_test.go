package validation

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/named"
)

// These specs use DNS with RFC 2136: the client updates a bind9, and the issuer queries it.
var _ = Describe("A zone with dynamic updates", Ordered, func() {
	named.Need()
	var zone *named.Server
	var i issuer
	BeforeAll(func(ctx SpecContext) {
		if pathOf("named") == "" {
			return // the specs report it
		}
		zone = named.Start("updates.test")
		i = newIssuer(ctx, "updates", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{zone.Address()}
			spec.Validation.CAA = v1alpha1.CAAEnforce
			spec.Validation.CAAIdentities = []string{"ca.updates.test"}
		})
		zone.Update(ctx, `add updates.test. 1 CAA 0 issue "ca.updates.test"`)
	})

	Describe("certbot with dns-rfc2136", func() {
		needPrograms("certbot", "certbot")
		needCertbotRFC2136()

		It("gets a wildcard with its base name by dns-01", func(ctx SpecContext) {
			dir := GinkgoT().TempDir()
			credentials := filepath.Join(dir, "rfc2136.ini")
			text := fmt.Sprintf("dns_rfc2136_server = 127.0.0.1\ndns_rfc2136_port = %d\ndns_rfc2136_name = %s\ndns_rfc2136_secret = %s\ndns_rfc2136_algorithm = HMAC-SHA256\n",
				zone.Port, named.TSIGName, named.TSIGSecret)
			Expect(os.WriteFile(credentials, []byte(text), 0o600)).To(Succeed())
			run(ctx, []string{"REQUESTS_CA_BUNDLE=" + acmeca.CAFile()}, "certbot", "certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email",
				"--server", i.directory(), "--config-dir", dir, "--work-dir", dir, "--logs-dir", filepath.Join(dir, "logs"),
				"--dns-rfc2136", "--dns-rfc2136-credentials", credentials, "--dns-rfc2136-propagation-seconds", "1",
				"--cert-name", "wild", "-d", "*.wild.updates.test,wild.updates.test")
			i.verify(certificates.Read(filepath.Join(dir, "live", "wild", "fullchain.pem")), "*.wild.updates.test", "wild.updates.test")

			authorizations := authorizationsFor(ctx, i, "wild.updates.test")
			Expect(authorizations).To(HaveLen(2))
			for _, authz := range authorizations {
				c := authz.Status.Challenge
				Expect(c.Type).To(Equal(acme.DNS01))
				Expect(c.CAACheckedAt).NotTo(BeNil())
				Expect(c.Record.Resolver).To(Equal(zone.Address()))
				Expect(c.Record.Records).To(ContainElements(HavePrefix("TXT "), ContainSubstring("ca.updates.test")))
			}
		}, SpecTimeout(time.Minute))
	})

	Describe("lego with rfc2136", func() {
		needPrograms("lego", "lego")

		It("gets a certificate for several names by dns-01", func(ctx SpecContext) {
			dir := GinkgoT().TempDir()
			run(ctx, []string{
				"LEGO_CA_CERTIFICATES=" + acmeca.CAFile(), "RFC2136_NAMESERVER=" + zone.Address(), "RFC2136_TSIG_ALGORITHM=hmac-sha256.",
				"RFC2136_TSIG_KEY=" + named.TSIGName, "RFC2136_TSIG_SECRET=" + named.TSIGSecret, "RFC2136_SEQUENCE_INTERVAL=0", "RFC2136_POLLING_INTERVAL=1", "RFC2136_PROPAGATION_TIMEOUT=20",
			}, "lego", "--path", dir, "--server", i.directory(), "--email", "admin@updates.test", "--accept-tos",
				"--dns", "rfc2136", "--dns.resolvers", zone.Address(), "--dns.disable-cp",
				"--domains", "lego.updates.test", "--domains", "*.lego.updates.test", "--domains", "other.updates.test", "run")
			i.verify(certificates.Read(filepath.Join(dir, "certificates", "lego.updates.test.crt")), "lego.updates.test", "*.lego.updates.test", "other.updates.test")
		}, SpecTimeout(time.Minute))
	})
})

var _ = Describe("lego with tls-alpn-01", func() {
	needPrograms("lego", "lego")

	It("gets a certificate", func(ctx SpecContext) {
		i := newIssuer(ctx, "alpn", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{"127.0.0.1:" + strconv.Itoa(acmeca.Ports().DNS)}
			spec.Validation.TLSPort = int32(acmeca.Ports().TLSALPN01)
		})
		dir := GinkgoT().TempDir()
		run(ctx, []string{"LEGO_CA_CERTIFICATES=" + acmeca.CAFile()}, "lego", "--path", dir, "--server", i.directory(), "--email", "admin@alpn.test", "--accept-tos",
			"--tls", "--tls.port", "127.0.0.1:"+strconv.Itoa(acmeca.Ports().TLSALPN01), "--domains", "alpn.test", "--domains", "www.alpn.test", "run")
		i.verify(certificates.Read(filepath.Join(dir, "certificates", "alpn.test.crt")), "alpn.test", "www.alpn.test")
		Expect(authorizationsFor(ctx, i, "alpn.test")[0].Status.Challenge.Type).To(Equal(acme.TLSALPN01))
	}, SpecTimeout(time.Minute))
})

var _ = Describe("certbot with nginx", func() {
	needPrograms("certbot", "certbot", "nginx", "nginx")

	It("gets a certificate by http-01 from a web root", func(ctx SpecContext) {
		web := startWebServer()
		i := newIssuer(ctx, "nginx", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{"127.0.0.1:" + strconv.Itoa(acmeca.Ports().DNS)}
			spec.Validation.HTTPPort = int32(web.port)
		})
		dir := GinkgoT().TempDir()
		run(ctx, []string{"REQUESTS_CA_BUNDLE=" + acmeca.CAFile()}, "certbot", "certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email",
			"--server", i.directory(), "--config-dir", dir, "--work-dir", dir, "--logs-dir", filepath.Join(dir, "logs"),
			"--webroot", "--webroot-path", web.root, "--cert-name", "web", "-d", "web.test,www.web.test")
		i.verify(certificates.Read(filepath.Join(dir, "live", "web", "fullchain.pem")), "web.test", "www.web.test")
		record := authorizationsFor(ctx, i, "web.test")[0].Status.Challenge.Record
		Expect(record.AddressUsed).To(Equal("127.0.0.1:" + strconv.Itoa(web.port)))
		Expect(record.URLs).To(BeEmpty(), "it follows from the challenge, without a redirect")
	}, SpecTimeout(time.Minute))
})
