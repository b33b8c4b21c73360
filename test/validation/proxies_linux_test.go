package validation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// serverName is the ACME server's name inside the cluster, which the documented proxy verifies.
const serverName = "acmeca.acmeca-system.svc"

// nameServerInCluster adds that name to the ACME server's certificate.
func nameServerInCluster(ctx context.Context) {
	GinkgoHelper()
	i := issuer{&v1alpha1.AcmeIssuer{}}
	Expect(cluster.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, i.AcmeIssuer)).To(Succeed())
	i.change(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
		spec.ExternalURLs = []string{acmeca.BaseURL(), "https://" + serverName}
	})
}

// documentedProxy returns the nginx configuration of the guide for a proxy at that address, adapted to the test.
func documentedProxy(p *pki, address, port, server string) string {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	text, err := os.ReadFile(filepath.Join(root, "docs", "guides", "perspectives-and-proxies.md"))
	Expect(err).NotTo(HaveOccurred())
	_, rest, found := strings.Cut(string(text), "\n```nginx\n")
	Expect(found).To(BeTrue())
	config, _, found := strings.Cut(rest, "\n```\n")
	Expect(found).To(BeTrue())
	files := p.writeFiles(address)
	for _, change := range [][2]string{
		{"listen 443 ssl;", "listen " + net.JoinHostPort(address, port) + " ssl;"},
		{"server_name acme.corp.example;", "server_name " + address + ";"},
		{"/etc/nginx/acme.crt", filepath.Join(files, "tls.crt")},
		{"/etc/nginx/acme.key", filepath.Join(files, "tls.key")},
		{"/etc/nginx/acmeca.crt", acmeca.CAFile()},
		{"proxy_pass https://acmeca.acmeca-system.svc;", "proxy_pass https://" + server + ";"},
	} {
		Expect(strings.Count(config, change[0])).To(Equal(1), "the guide's configuration has no %q", change[0])
		config = strings.Replace(config, change[0], change[1], 1)
	}
	return config
}

// startProxy runs the documented proxy in a namespace. Clients reach it at one of its addresses, and it reaches the
// ACME server through a link to the host.
func startProxy(p *pki, in *namespace, address, host string) (base string) {
	GinkgoHelper()
	const port = "8443"
	_, serverPort, err := net.SplitHostPort(strings.TrimPrefix(acmeca.BaseURL(), "https://"))
	Expect(err).NotTo(HaveOccurred())
	server := net.JoinHostPort(host, serverPort)
	relay(server, strings.TrimPrefix(acmeca.BaseURL(), "https://"))
	startNginx(documentedProxy(p, address, port, server), func() (conn net.Conn, err error) {
		in.do(func() { conn, err = net.DialTimeout("tcp", net.JoinHostPort(address, port), time.Second) })
		return conn, err
	}, in.command()...)
	return "https://" + net.JoinHostPort(address, port)
}

// directoryThrough returns an issuer's directory, requested with a client's headers through the proxy or directly
// from the ACME server.
func directoryThrough(ctx context.Context, p *pki, clients *namespace, base string, i issuer, claims http.Header) string {
	GinkgoHelper()
	roots := x509.NewCertPool()
	roots.AddCert(p.certificate)
	own, err := os.ReadFile(acmeca.CAFile())
	Expect(err).NotTo(HaveOccurred())
	Expect(roots.AppendCertsFromPEM(own)).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	if base != acmeca.BaseURL() {
		transport.DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			clients.do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
			return conn, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+i.directoryPath(), nil)
	Expect(err).NotTo(HaveOccurred())
	request.Header = claims
	response, err := (&http.Client{Transport: transport}).Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	Expect(string(text)).NotTo(ContainSubstring("evil"))
	return string(text)
}

var _ = Describe("A proxy", func() {
	needNamespaces()
	needPrograms("nginx", "nginx", "certbot", "certbot")

	// certbot runs in the clients' network and knows only the proxy's URL.
	certbot := func(ctx context.Context, in *namespace, p *pki, i issuer, base, address, name string) {
		GinkgoHelper()
		dir := GinkgoT().TempDir()
		trust := filepath.Join(dir, "proxy-ca.crt")
		Expect(os.WriteFile(trust, p.pem, 0o644)).To(Succeed())
		do := func(args ...string) {
			GinkgoHelper()
			in.run(ctx, []string{"REQUESTS_CA_BUNDLE=" + trust}, "certbot", append(args, "--non-interactive", "--server", base+i.directoryPath(),
				"--config-dir", dir, "--work-dir", dir, "--logs-dir", filepath.Join(dir, "logs"))...)
		}
		do("register", "--agree-tos", "--email", "admin@"+name, "--no-eff-email")
		do("certonly", "--standalone", "--http-01-address", address, "--http-01-port", "80", "-d", name)
		chain := certificates.Read(filepath.Join(dir, "live", name, "fullchain.pem"))
		i.verify(chain, name)
		do("renew", "--force-renewal", "--no-random-sleep-on-renew")
		Expect(certificates.Read(filepath.Join(dir, "live", name, "fullchain.pem"))[0].SerialNumber).NotTo(Equal(chain[0].SerialNumber))
		do("update_account", "--email", "other@"+name, "--no-eff-email")
		do("revoke", "--cert-path", filepath.Join(dir, "live", name, "fullchain.pem"), "--reason", "superseded", "--no-delete-after-revoke")
		do("unregister")
	}

	It("forwards requests, and the controller validates directly (public proxy)", func(ctx SpecContext) {
		nameServerInCluster(ctx)
		p, proxy, clients := newPKI(), newNamespace(ctx, "proxy"), newNamespace(ctx, "clients")
		_, host := proxy.link(ctx, nil)
		front, _ := proxy.link(ctx, clients)
		address, _ := clients.link(ctx, nil) // the controller reaches the clients by this link; they do not reach the ACME server
		base := startProxy(p, proxy, front, host)
		resolver := net.JoinHostPort("127.0.0.1", freePortText())
		serveDNS(nil, resolver, map[string]string{"client.public.test": address})
		i := newIssuer(ctx, "public", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.ExternalURLs = []string{base, acmeca.BaseURL()}
			spec.Validation.Resolvers = []string{resolver}
		})

		certbot(ctx, clients, p, i, base, address, "client.public.test")
		authz := authorizationsFor(ctx, i, "client.public.test")[0]
		Expect(authz.Status.Challenge.Record.AddressUsed).To(Equal(address + ":80"))
		Expect(authz.Status.Challenge.Record.Perspectives).To(BeEmpty())

		By("returning URLs on the base that a client uses, regardless of its headers")
		for used, claims := range map[string]http.Header{
			base:             {"X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Port": {"1"}, "Forwarded": {"host=evil.test"}},
			acmeca.BaseURL(): {"X-Forwarded-Host": {"evil.test"}, "X-Original-Url": {"https://evil.test"}},
		} {
			Expect(directoryThrough(ctx, p, clients, used, i, claims)).To(ContainSubstring(used + "/acmeca-system/public/acme/new-order"))
		}
	}, SpecTimeout(2*time.Minute))

	It("has a validator beside it if the controller cannot reach the clients (private proxy)", func(ctx SpecContext) {
		nameServerInCluster(ctx)
		p, proxy, clients := newPKI(), newNamespace(ctx, "gate"), newNamespace(ctx, "inside")
		validator, host := proxy.link(ctx, nil)
		front, address := proxy.link(ctx, clients)
		base := startProxy(p, proxy, front, host)
		serveDNS(proxy, "127.0.0.1:53", map[string]string{"client.private.test": address})
		startValidator(buildAcmeca(ctx), p, proxy, validator, "--resolver", "127.0.0.1:53")
		secret := p.clientSecret(ctx, "private", controllerName)
		i := newIssuer(ctx, "private", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.ExternalURLs = []string{base}
			spec.Validation.Local = new(bool)
			spec.Validation.Perspectives = []v1alpha1.Perspective{perspectiveAt("gate", validator, p, secret)}
		})
		unreachable(ctx, address)

		certbot(ctx, clients, p, i, base, address, "client.private.test")
		record := authorizationsFor(ctx, i, "client.private.test")[0].Status.Challenge.Record
		Expect(record.Perspectives).To(ConsistOf(And(HaveField("Name", "gate"), HaveField("Valid", true), HaveField("AddressUsed", address+":80"))))
	}, SpecTimeout(2*time.Minute))
})
