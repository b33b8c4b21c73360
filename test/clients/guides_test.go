package clients

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// site is the machine of a guide's reader: a directory in place of the root directory, and a name.
type site struct {
	dir, name string
	shell     *guide.Shell
}

// newSite creates a site. In commands and files it replaces the guide's values of the directory's URL, the CA's file,
// the name, and additional pairs. Directories are moved below the spec's.
func newSite(name string, pairs ...string) *site {
	GinkgoHelper()
	s := &site{dir: GinkgoT().TempDir(), name: name}
	// Servers started by root serve as another user.
	for dir := s.dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		Expect(os.Chmod(dir, 0o755)).To(Succeed())
	}
	for _, dir := range []string{"etc/letsencrypt", "etc/haproxy", "etc/dehydrated", "var/www", "var/lib", "bin", "tmp"} {
		Expect(os.MkdirAll(s.path(dir), 0o755)).To(Succeed())
	}
	// The file sets certbot's directories and the port of --standalone, which the guides' command lines do not set.
	s.write("etc/letsencrypt/cli.ini", fmt.Sprintf("config-dir = %[1]s/etc/letsencrypt\nwork-dir = %[1]s/var/lib/letsencrypt\nlogs-dir = %[1]s/var/log\nhttp-01-port = %[2]d\n",
		s.dir, acmeca.Ports().HTTP01))
	pairs = append(pairs,
		"https://acme.corp.example/", acmeca.BaseURL()+"/",
		"/etc/acmeca/ca.crt", acmeca.CAFile(),
		"www.corp.example", name,
		"corp.example", "corp.test",
		"/etc/", s.dir+"/etc/",
		"/var/", s.dir+"/var/",
		"/tmp/", s.dir+"/tmp/",
	)
	s.shell = &guide.Shell{Here: strings.NewReplacer(pairs...), Environment: []string{
		"PATH=" + s.path("bin") + ":" + os.Getenv("PATH") + ":/usr/sbin",
		"XDG_CONFIG_HOME=" + s.path("etc"), // certbot finds letsencrypt/cli.ini here
	}}
	return s
}

func (s *site) path(path string) string { return filepath.Join(s.dir, path) }

func (s *site) write(path, text string) string {
	GinkgoHelper()
	Expect(os.WriteFile(s.path(path), []byte(text), 0o755)).To(Succeed())
	return s.path(path)
}

// file writes the configuration file under a heading of a guide, adapted to this site.
func (s *site) file(guideFile, heading, language string) string {
	GinkgoHelper()
	return s.shell.Here.Replace(guide.File(guide.Section(guideFile, heading), language))
}

// follow runs the commands under a heading of a guide.
func (s *site) follow(ctx SpecContext, guideFile, heading string) string {
	GinkgoHelper()
	return s.shell.Run(ctx, guide.Commands(guide.Section(guideFile, heading)))
}

// served returns the chain that a server shows for the site's name.
func (s *site) served(port int) ([]*x509.Certificate, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", loopback(port), &tls.Config{ServerName: s.name, RootCAs: suite.Roots(acmeca)})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates, nil
}

// eventuallyServes waits until a server shows a certificate of acmeca for the name, and finds its order.
func (s *site) eventuallyServes(ctx SpecContext, port int) {
	GinkgoHelper()
	var chain []*x509.Certificate
	Eventually(func() (err error) {
		chain, err = s.served(port)
		return err
	}).WithContext(ctx).WithTimeout(time.Minute).WithPolling(100 * time.Millisecond).Should(Succeed())
	verify(chain, s.name)
	Expect(suite.OrderOf(ctx, cluster, chain[0]).Spec.IssuerRef.Name).To(Equal("default"))
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

var _ = Describe("The guide of clients outside the cluster", func() {
	It("exposes the ACME server under its own name, and publishes its CA's certificates", func(ctx SpecContext) {
		kubectl, err := binaries.Find("kubectl")
		Expect(err).NotTo(HaveOccurred())
		s := newSite("outside.test", "https://acme.corp.example", acmeca.BaseURL())
		s.shell.Environment = append(s.shell.Environment, "PATH="+kubectl+":"+os.Getenv("PATH"), "KUBECONFIG="+acmeca.Kubeconfig())
		s.follow(ctx, "outside.md", "Reach the ACME server")
		s.shell.Run(ctx, "cd /tmp/\n"+guide.Commands(guide.Section("outside.md", "Trust the CA")))
		Expect(read(s.path("tmp/ca.crt"))).To(Equal(read(acmeca.CAFile())))
	}, SpecTimeout(time.Minute))
})

var _ = Describe("The guide of certbot", Ordered, func() {
	programs.Need("certbot", "certbot")
	const file = "certbot.md"
	var s *site
	BeforeAll(func() { s = newSite("certbot-guide.test") })

	It("gets a certificate, renews and revokes it", func(ctx SpecContext) {
		s.follow(ctx, file, "A certificate")
		chain := certificates.Parse([]byte(read(s.path("etc/letsencrypt/live/" + s.name + "/fullchain.pem"))))
		verify(chain, s.name)
		Expect(s.follow(ctx, file, "Renewal")).To(ContainSubstring("not yet due"))
		s.follow(ctx, file, "Revoke")
		Expect(suite.OrderOf(ctx, cluster, chain[0]).Status.RevokedAt).NotTo(BeNil())
	}, SpecTimeout(2*time.Minute))

	It("registers with an external account key", func(ctx SpecContext) {
		key := bindingKey(ctx, "teams", "vm")
		s.shell.Environment = append(s.shell.Environment, "EAB_HMAC_KEY="+key)
		s.follow(ctx, file, "With an external account key")
		Expect(accountsOf(ctx, "teams")).To(HaveLen(1))
	}, SpecTimeout(time.Minute))
})

var _ = Describe("The guide of Caddy", func() {
	programs.Need("caddy", "caddy")

	It("makes Caddy get a certificate by itself", func(ctx SpecContext) {
		ports := acmeca.Ports()
		s := newSite("caddy.test", "{\n\temail", fmt.Sprintf("{\n\tadmin off\n\thttp_port %d\n\thttps_port %d\n\temail", ports.HTTP01, ports.TLSALPN01))
		config := s.write("etc/Caddyfile", s.file("caddy.md", "Caddyfile", "caddyfile"))
		programs.Start(programs.Accepts(loopback(ports.TLSALPN01)), []string{"HOME=" + s.dir, "XDG_DATA_HOME=" + s.path("var/lib"), "XDG_CONFIG_HOME=" + s.path("etc")},
			programs.Path("caddy"), "run", "--config", config, "--adapter", "caddyfile")
		s.eventuallyServes(ctx, ports.TLSALPN01)
	}, SpecTimeout(2*time.Minute))
})

var _ = Describe("The guide of HAProxy", func() {
	programs.Need("haproxy", "haproxy", "certbot", "certbot", "openssl", "openssl")

	It("runs certbot behind HAProxy, which loads the certificate", func(ctx SpecContext) {
		https, behind := programs.FreePort(), strconv.Itoa(programs.FreePort())
		s := newSite("haproxy.test", "bind :80\n", "bind "+loopback(acmeca.Ports().HTTP01)+"\n", "bind :443 ", "bind "+loopback(https)+" ", "8402", behind)
		config := s.write("etc/haproxy/haproxy.cfg", s.file("haproxy.md", "haproxy.cfg", "haproxy"))
		blocks := guide.Section("haproxy.md", "The first certificate")
		s.shell.Run(ctx, guide.Commands(blocks[:1]))
		pid := s.path("haproxy.pid")
		programs.Start(programs.Accepts(loopback(https)), nil, programs.Path("haproxy"), "-W", "-db", "-p", pid, "-f", config)
		// systemd does this on a reload.
		s.write("bin/systemctl", fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 'reload haproxy' ] && kill -USR2 $(head -n1 %s)\n", pid))
		s.shell.Run(ctx, guide.Commands(blocks[1:]))
		s.eventuallyServes(ctx, https)
	}, SpecTimeout(2*time.Minute))
})

var _ = Describe("The guide of NGINX", func() {
	programs.Need("nginx", "nginx-light", "certbot", "certbot")

	It("runs certbot in a directory that NGINX serves, and NGINX loads the certificate", func(ctx SpecContext) {
		https := programs.FreePort()
		s := newSite("nginx.test", "listen 80;", "listen "+loopback(acmeca.Ports().HTTP01)+";", "listen 443 ssl;", "listen "+loopback(https)+" ssl;")
		frame := fmt.Sprintf("daemon off;\npid %[1]s/nginx.pid;\nerror_log stderr;\nevents { }\nhttp {\naccess_log off;\n%[2]s\ninclude %[1]s/etc/https.conf*;\n}\n", s.dir, temporaryPaths(s.dir))
		frame = strings.Replace(frame, "include", s.file("nginx.md", "Challenges", "nginx")+"include", 1)
		config := s.write("etc/nginx.conf", frame)
		programs.Start(programs.Accepts(loopback(acmeca.Ports().HTTP01)), nil, programs.Path("nginx"), "-c", config, "-e", "stderr")
		s.write("bin/nginx", fmt.Sprintf("#!/bin/sh\nexec %s -c %s -e stderr \"$@\"\n", programs.Path("nginx"), config)) // NGINX's files are not in /etc here
		s.follow(ctx, "nginx.md", "Challenges")
		s.write("etc/https.conf", s.file("nginx.md", "Certificate", "nginx"))
		s.shell.Run(ctx, "nginx -s reload")
		s.eventuallyServes(ctx, https)
	}, SpecTimeout(2*time.Minute))
})

func temporaryPaths(dir string) string {
	text := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return text
}

var _ = Describe("The guide of Apache", func() {
	programs.Need("apache2", "apache2")

	It("makes mod_md get a certificate, which is served after a graceful restart", func(ctx SpecContext) {
		ports := acmeca.Ports()
		s := newSite("apache.test", "*:443", loopback(ports.TLSALPN01))
		frame := fmt.Sprintf("ServerRoot %[1]s\nServerName %[2]s\nPidFile %[1]s/apache.pid\nErrorLog /dev/stderr\nLogLevel info\nListen %[3]s\nListen %[4]s\nMDPortMap http:%[5]d https:%[6]d\nMDStoreDir %[1]s/var/lib/md\n",
			s.dir, s.name, loopback(ports.HTTP01), loopback(ports.TLSALPN01), ports.HTTP01, ports.TLSALPN01)
		for _, module := range []string{"mpm_event", "authz_core", "socache_shmcb", "ssl", "md"} {
			frame = fmt.Sprintf("LoadModule %s_module %smod_%s.so\n", module, apacheModules, module) + frame
		}
		config := s.write("etc/apache.conf", frame+"<VirtualHost "+loopback(ports.HTTP01)+">\nServerName "+s.name+"\n</VirtualHost>\n"+s.file("apache.md", "Configuration", "apache"))
		apache := programs.Path("apache2")
		programs.Start(programs.Accepts(loopback(ports.TLSALPN01)), nil, apache, "-DFOREGROUND", "-f", config)
		Eventually(func() []string {
			found, _ := filepath.Glob(s.path("var/lib/md/staging/" + s.name + "/pubcert*.pem"))
			return found
		}, "60s", "100ms").ShouldNot(BeEmpty())
		Eventually(func() error {
			programs.Run(ctx, nil, "apache2", "-f", config, "-k", "graceful")
			_, err := s.served(ports.TLSALPN01)
			return err
		}, "60s", "1s").Should(Succeed())
		s.eventuallyServes(ctx, ports.TLSALPN01)
	}, SpecTimeout(3*time.Minute))
})

const apacheModules = "/usr/lib/apache2/modules/"

var _ = Describe("The guide of dehydrated", func() {
	programs.Need("dehydrated", "dehydrated", "curl", "curl", "openssl", "openssl")

	It("registers and gets a certificate", func(ctx SpecContext) {
		s := newSite("dehydrated.test")
		s.write("etc/dehydrated/config", s.file("dehydrated.md", "Configuration", "sh-config")+"BASEDIR="+s.path("var/lib/dehydrated")+"\n")
		Expect(os.MkdirAll(s.path("var/lib/dehydrated"), 0o755)).To(Succeed())
		Expect(os.MkdirAll(s.path("var/www/dehydrated"), 0o755)).To(Succeed())
		serveDirectory(s.path("var/www/dehydrated"))
		s.write("bin/dehydrated", fmt.Sprintf("#!/bin/sh\nexec %s --config %s \"$@\"\n", programs.Path("dehydrated"), s.path("etc/dehydrated/config")))
		s.follow(ctx, "dehydrated.md", "Commands")
		chain := certificates.Parse([]byte(read(s.path("var/lib/dehydrated/certs/" + s.name + "/fullchain.pem"))))
		verify(chain, s.name)
		Expect(accountOf(ctx, suite.OrderOf(ctx, cluster, chain[0])).Spec.Contact).To(ConsistOf("mailto:ops@corp.test"))
	}, SpecTimeout(2*time.Minute))
})

func read(file string) string {
	GinkgoHelper()
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// bindingKey creates an AcmeIssuer that requires external account keys, and one such key.
func bindingKey(ctx context.Context, name, id string) string {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: name}}
	issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: name}
	issuer.Spec.Account.ExternalAccountBinding.Required = true
	Expect(cluster.Create(ctx, issuer)).To(Succeed())
	key := rand.Text() + rand.Text()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: name + "-eab-" + id},
		Type:       "acmeca.dev/external-account-key",
		StringData: map[string]string{"hmac-key": key},
	}
	Expect(cluster.Create(ctx, secret)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(cluster.Delete(ctx, secret)).To(Succeed())
		Expect(cluster.Delete(ctx, issuer)).To(Succeed())
	})
	Eventually(func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
	}, "30s", "50ms").Should(Succeed())
	return key
}

// accountsOf returns the accounts of an issuer.
func accountsOf(ctx context.Context, issuer string) []v1alpha1.AcmeAccount {
	GinkgoHelper()
	var list v1alpha1.AcmeAccountList
	Expect(cluster.List(ctx, &list, client.InNamespace(local.Namespace))).To(Succeed())
	return slices.DeleteFunc(list.Items, func(account v1alpha1.AcmeAccount) bool { return account.Spec.IssuerRef.Name != issuer })
}

// serveDirectory serves a directory on the port for http-01.
func serveDirectory(dir string) {
	GinkgoHelper()
	listener, err := net.Listen("tcp", loopback(acmeca.Ports().HTTP01))
	Expect(err).NotTo(HaveOccurred())
	server := &http.Server{Handler: http.StripPrefix("/.well-known/acme-challenge", http.FileServer(http.Dir(dir))), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ended by Close
	DeferCleanup(server.Close)
}
