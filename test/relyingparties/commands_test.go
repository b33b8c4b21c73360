package relyingparties

import (
	"bytes"
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/test/internal/guide"
)

// The programs that verify the file chain.pem, or the certificate of a server, and end.

var openssl = &party{
	name: "OpenSSL", needs: []string{"openssl", "openssl"}, versionOf: "openssl", open: command("OpenSSL"),
	checks: "chain", refresh: "at each start", note: "`-crl_check` checks the leaf alone",
}

var certtool = &party{
	name: "certtool", needs: []string{"certtool", "gnutls-bin"}, versionOf: "gnutls-bin", open: command("certtool"),
	checks: "chain", refresh: "at each start", without: accepts, note: "reads one CRL of a CA",
}

var curl = &party{
	name: "curl", needs: []string{"curl", "curl"}, versionOf: "curl", open: fetching("curl"),
	checks: "chain", refresh: "at each start",
}

var wget = &party{
	name: "wget", needs: []string{"wget", "wget"}, versionOf: "wget", open: fetching("wget"),
	checks: "chain", refresh: "at each start", without: accepts, note: "reads one CRL of a CA",
}

var java = &party{
	name: "Java", needs: []string{"javac", "default-jdk-headless"}, versionOf: "openjdk-17-jre-headless",
	open:   compiled("Java", "java", "Verify.java"),
	checks: "chain", refresh: "at each start",
}

var javaByPoint = &party{
	name: "Java by the distribution point", needs: []string{"javac", "default-jdk-headless"}, versionOf: "openjdk-17-jre-headless",
	open: func(_ context.Context, s *site) verifier {
		s.write("Verify.java", []byte(s.file("Java", "java")))
		return fileVerifier{s, "Java by the distribution point"}
	},
	checks: "chain", refresh: "the URL in the certificate", without: accepts, live: true, note: "needs the plain HTTP listener",
}

var wolfSSL = &party{
	name: "wolfSSL", needs: []string{"cc", "gcc"}, files: []string{"/usr/include/wolfssl/ssl.h", "libwolfssl-dev"}, versionOf: "libwolfssl-dev",
	open:   compiled("wolfSSL", "c", "verify.c"),
	checks: "chain", refresh: "at each start", without: accepts,
	note: "reads one CRL of a CA, and only of CAs that it has; fetches a missing one from the URL in the certificate",
}

var mbedTLS = &party{
	name: "Mbed TLS", needs: []string{"cc", "gcc"}, files: []string{"/usr/include/mbedtls/x509_crt.h", "libmbedtls-dev"}, versionOf: "libmbedtls-dev",
	open:   compiled("Mbed TLS", "c", "verify.c"),
	checks: "chain", refresh: "at each start", without: accepts, note: "loads no CRL of a shard",
}

var nss = &party{
	name: "NSS", needs: []string{"crlutil", "libnss3-tools", "vfychain", "libnss3-tools", "openssl", "openssl"}, versionOf: "libnss3-tools",
	open: command("NSS"), checks: "chain", refresh: "by an import",
	without: accepts, note: "loads no CRL of a shard",
}

// command opens a program that verifies the file chain.pem.
func command(heading string) func(context.Context, *site) verifier {
	return func(_ context.Context, s *site) verifier { return fileVerifier{s, heading} }
}

// compiled writes the source code in the guide to a file first.
func compiled(heading, language, file string) func(context.Context, *site) verifier {
	return func(_ context.Context, s *site) verifier {
		s.write(file, []byte(s.file(heading, language)))
		return fileVerifier{s, heading}
	}
}

type fileVerifier struct {
	*site
	heading string
}

func (v fileVerifier) verify(ctx context.Context, name string) (bool, string) {
	v.write("chain.pem", pki.chain(name))
	for _, left := range []string{"db", "crl-*", "issuer.pem", "leaf.pem"} { // of an earlier run
		files, err := filepath.Glob(v.path(left))
		Expect(err).NotTo(HaveOccurred())
		for _, file := range files {
			Expect(os.RemoveAll(file)).To(Succeed())
		}
	}
	output, accepted := v.run(ctx, v.heading)
	return accepted, output
}

func (fileVerifier) reload(context.Context) {}

// fetching opens a program that fetches from a server with the certificate in question.
func fetching(heading string) func(context.Context, *site) verifier {
	return func(_ context.Context, s *site) verifier { return clientVerifier{s, heading} }
}

type clientVerifier struct {
	*site
	heading string
}

func (v clientVerifier) verify(ctx context.Context, name string) (bool, string) {
	certificate, err := tls.X509KeyPair(pki.chain(name), pki.key(name))
	Expect(err).NotTo(HaveOccurred())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(greeting)) // the client's output shows a failure
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(&bytes.Buffer{}, "", 0) // refusals are expected
	server.StartTLS()
	defer server.Close()
	_, port, err := splitPort(server.Listener.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	v.replace("8443", strconv.Itoa(port))
	output, accepted := v.run(ctx, v.heading)
	if accepted {
		Expect(output).To(ContainSubstring(greeting))
	}
	return accepted, output
}

func (clientVerifier) reload(context.Context) {}

// greeting is the body of the servers' answer to an accepted client.
const greeting = "hello\n"

// commands returns the shell blocks under a heading for a site.
func (s *site) commands(heading string) string {
	GinkgoHelper()
	return s.shell.Here.Replace(guide.Commands(guide.Section(guideFile, heading)))
}
