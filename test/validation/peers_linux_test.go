package validation

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// buildAcmeca builds the operator's program.
func buildAcmeca(ctx context.Context) string {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	path := filepath.Join(GinkgoT().TempDir(), "acmeca")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/acmeca")
	cmd.Dir = root
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	return path
}

// pki signs the certificates of validators and proxies, and client certificates of controllers.
type pki struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newPKI() *pki {
	GinkgoHelper()
	p := &pki{key: certificates.NewKey()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority of a test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	Expect(err).NotTo(HaveOccurred())
	p.certificate, err = x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	p.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return p
}

// issue returns a certificate for a name or an address, and its key.
func (p *pki) issue(name string) (certificate, key []byte) {
	GinkgoHelper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if address := net.ParseIP(name); address != nil {
		template.IPAddresses = []net.IP{address}
	} else {
		template.DNSNames = []string{name}
	}
	private := certificates.NewKey()
	der, err := x509.CreateCertificate(rand.Reader, template, p.certificate, private.Public(), p.key)
	Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	Expect(err).NotTo(HaveOccurred())
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// writeFiles writes a certificate, its key and the CA into a directory, like a mounted Secret.
func (p *pki) writeFiles(name string) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	certificate, key := p.issue(name)
	for file, text := range map[string][]byte{"tls.crt": certificate, "tls.key": key, "ca.crt": p.pem} {
		Expect(os.WriteFile(filepath.Join(dir, file), text, 0o600)).To(Succeed())
	}
	return dir
}

// controllerName is the name in the controllers' client certificate.
const controllerName = "controller.acmeca.test"

// clientSecret is the Secret that spec.validation.perspectives refers to.
func (p *pki) clientSecret(ctx context.Context, name, certified string) v1alpha1.ObjectRef {
	GinkgoHelper()
	certificate, key := p.issue(certified)
	secret := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}}
	secret.Namespace, secret.Name = local.Namespace, name
	Expect(cluster.Create(ctx, secret)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cluster.Delete(ctx, secret)).To(Succeed()) })
	return v1alpha1.ObjectRef{Name: name}
}

const validatorPort = "9443"

// startValidator runs `acmeca validator` in a namespace, at an address that the host reaches.
func startValidator(program string, p *pki, in *namespace, address string, flags ...string) {
	GinkgoHelper()
	listen := net.JoinHostPort(address, validatorPort)
	args := append(in.command(), program, "validator", "--listen", listen, "--health-listen", "0",
		"--tls-dir", p.writeFiles(address), "--client-name", controllerName)
	args = append(args, flags...)
	roots := x509.NewCertPool()
	roots.AddCert(p.certificate)
	pair, err := tls.X509KeyPair(p.issue(controllerName))
	Expect(err).NotTo(HaveOccurred())
	startServer(func() error {
		conn, err := tls.Dial("tcp", listen, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}})
		if err == nil {
			conn.Close()
		}
		return err
	}, args[0], args[1:]...)
}

func perspectiveAt(name, address string, p *pki, secret v1alpha1.ObjectRef) v1alpha1.Perspective {
	return v1alpha1.Perspective{Name: name, URL: "https://" + net.JoinHostPort(address, validatorPort), CABundle: string(p.pem), ClientCertificateSecretRef: secret}
}

// serveDNS serves names with their addresses, and no others, in a namespace or on the host.
func serveDNS(in *namespace, address string, names map[string]string) {
	GinkgoHelper()
	server := &dns.Server{PacketConn: in.listenPackets(address), Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		reply.Authoritative = true
		address, known := names[strings.TrimSuffix(strings.ToLower(q.Question[0].Name), ".")]
		switch {
		case !known:
			reply.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(address)}}
		}
		_ = w.WriteMsg(reply)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { _ = server.ActivateAndServe() }()
	<-started
	DeferCleanup(func() { _ = server.Shutdown() })
}

// site answers http-01 once the answer is set.
type site struct {
	mu      sync.Mutex
	answers map[string]string
}

func (s *site) put(path, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = map[string]string{}
	}
	s.answers[path] = text
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.answers[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, text)
}

// serve serves the site in a namespace, or on the host.
func (s *site) serve(in *namespace, address string) {
	GinkgoHelper()
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	listener := in.listen(address)
	go func() { _ = server.Serve(listener) }()
	DeferCleanup(func() { server.Close() })
}

// relay forwards connections at an address of the host to another address.
func relay(from, to string) {
	GinkgoHelper()
	listener := (*namespace)(nil).listen(from)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				target, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer target.Close()
				go func() {
					_, _ = io.Copy(target, client)
					target.Close()
				}()
				_, _ = io.Copy(client, target)
			}()
		}
	}()
}
