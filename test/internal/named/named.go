// Package named runs bind9 as the authoritative server of a zone, or as a resolver, for suites.
package named

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/test/internal/programs"
)

// Server is a bind9. An authoritative server accepts updates by RFC 2136 with its key.
type Server struct {
	Zone string
	Port int
	dir  string
}

// These name the key for updates, of algorithm hmac-sha256.
const (
	TSIGName   = "acme"
	TSIGSecret = "c2VjcmV0IG9mIGEgdGVzdCB0aGF0IGlzIDMyIGJ5dGVz"
)

// Need skips a container without bind9, or fails it if all programs are required.
func Need() { programs.Need("named", "bind9", "nsupdate", "dnsutils") }

// Start starts a server for a zone until the spec or container ends. Every name without records has the address
// 127.0.0.1, and resolvers keep its absence for a second.
func Start(zone string) *Server {
	GinkgoHelper()
	return StartZone(zone, 1, "ns A 127.0.0.1", "* A 127.0.0.1")
}

// StartZone starts a server for a zone with records until the spec or container ends. The zone's server is named ns. minimum is
// how many seconds resolvers keep the absence of a record (RFC 2308 section 5).
func StartZone(zone string, minimum int, records ...string) *Server {
	GinkgoHelper()
	s := newServer(zone)
	s.write("zone", fmt.Sprintf("$TTL %[2]d\n@ SOA ns.%[1]s. admin.%[1]s. 1 3600 600 86400 %[2]d\n@ NS ns.%[1]s.\n@ A 127.0.0.1\n%[3]s\n",
		zone, minimum, strings.Join(records, "\n")))
	s.start("recursion no;", fmt.Sprintf(`
key %[1]q { algorithm hmac-sha256; secret %[2]q; };
zone %[3]q { type primary; file "zone"; allow-update { key %[1]q; }; };
`, TSIGName, TSIGSecret, zone))
	return s
}

// StartResolver starts a resolver for the zone of a server, with bind9's defaults for its cache, until the spec or container ends.
func StartResolver(authority *Server) *Server {
	GinkgoHelper()
	s := newServer(authority.Zone)
	s.start("recursion yes; allow-recursion { 127.0.0.1; }; dnssec-validation no;", fmt.Sprintf(`
zone %q { type forward; forward only; forwarders { 127.0.0.1 port %d; }; };
`, authority.Zone, authority.Port))
	return s
}

func newServer(zone string) *Server {
	GinkgoHelper()
	return &Server{Zone: zone, Port: programs.FreePort(), dir: GinkgoT().TempDir()}
}

// start runs the server with options and zones.
func (s *Server) start(options, zones string) {
	GinkgoHelper()
	s.write("named.conf", fmt.Sprintf(`
options {
	directory %[1]q;
	pid-file "%[1]s/named.pid";
	listen-on port %[2]d { 127.0.0.1; };
	listen-on-v6 { none; };
	%[3]s
};
controls { };
%[4]s`, s.dir, s.Port, options, zones))
	config := filepath.Join(s.dir, "named.conf")
	// AppArmor may restrict the installed binary to its own directories, so a copy is run.
	program := filepath.Join(s.dir, "named")
	copyFile(programs.Path("named"), program)
	programs.Start(s.answers, nil, program, "-g", "-n", "1", "-c", config)
}

func (s *Server) write(name, text string) {
	GinkgoHelper()
	Expect(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644)).To(Succeed())
}

func copyFile(from, to string) {
	GinkgoHelper()
	source, err := os.Open(from)
	Expect(err).NotTo(HaveOccurred())
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	Expect(err).NotTo(HaveOccurred())
	_, err = io.Copy(target, source)
	Expect(err).NotTo(HaveOccurred())
	Expect(target.Close()).To(Succeed())
}

// Address returns the server's host and port.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

func (s *Server) answers() error {
	reply, err := dns.Exchange(new(dns.Msg).SetQuestion(s.Zone+".", dns.TypeSOA), s.Address())
	if err == nil && len(reply.Answer) == 0 {
		return fmt.Errorf("no SOA record: %v", reply)
	}
	return err
}

// Update changes the zone by nsupdate, with one command a line, such as "add a.zone. 1 TXT x".
func (s *Server) Update(ctx context.Context, commands ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, programs.Path("nsupdate"), "-y", "hmac-sha256:"+TSIGName+":"+TSIGSecret)
	lines := append([]string{fmt.Sprintf("server 127.0.0.1 %d", s.Port), "zone " + s.Zone}, commands...)
	cmd.Stdin = strings.NewReader(strings.Join(append(lines, "send", ""), "\n"))
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%v\n%s", commands, output)
}

// AddTXT adds a TXT record, in strings of at most 200 bytes.
func (s *Server) AddTXT(ctx context.Context, name, value string) {
	GinkgoHelper()
	command := fmt.Sprintf("add %s. 1 TXT", name)
	for len(value) > 200 {
		command += fmt.Sprintf(" %q", value[:200])
		value = value[200:]
	}
	s.Update(ctx, command+fmt.Sprintf(" %q", value))
}
