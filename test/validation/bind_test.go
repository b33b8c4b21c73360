package validation

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
)

// bind is a bind9 that is the authority for a zone, and takes updates by RFC 2136 from who has its key.
type bind struct {
	dir, zone string
	port      int
}

const (
	tsigName   = "acme"
	tsigSecret = "c2VjcmV0IG9mIGEgdGVzdCB0aGF0IGlzIDMyIGJ5dGVz"
)

// startBind starts one for a zone whose every name that isn't there otherwise is at 127.0.0.1.
func startBind(zone string) *bind {
	GinkgoHelper()
	b := &bind{dir: GinkgoT().TempDir(), zone: zone, port: freePort()}
	b.write("zone", fmt.Sprintf("$TTL 1\n@ SOA ns.%[1]s. admin.%[1]s. 1 3600 600 86400 1\n@ NS ns.%[1]s.\n@ A 127.0.0.1\nns A 127.0.0.1\n* A 127.0.0.1\n", zone))
	b.write("named.conf", fmt.Sprintf(`
options {
	directory %[1]q;
	pid-file "%[1]s/named.pid";
	listen-on port %[2]d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
};
controls { };
key %[3]q { algorithm hmac-sha256; secret %[4]q; };
zone %[5]q { type primary; file "zone"; allow-update { key %[3]q; }; };
`, b.dir, b.port, tsigName, tsigSecret, zone))
	config := filepath.Join(b.dir, "named.conf")
	// A copy: where AppArmor watches over the installed one, that may read its own directories alone.
	program := filepath.Join(b.dir, "named")
	copyFile(pathOf("named"), program)
	startServer(b.answers, program, "-g", "-n", "1", "-c", config)
	return b
}

func (b *bind) write(name, text string) {
	GinkgoHelper()
	Expect(os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644)).To(Succeed())
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

func (b *bind) address() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

func (b *bind) answers() error {
	reply, err := dns.Exchange(new(dns.Msg).SetQuestion(b.zone+".", dns.TypeSOA), b.address())
	if err == nil && len(reply.Answer) == 0 {
		return fmt.Errorf("no SOA record: %v", reply)
	}
	return err
}

// update changes the zone by nsupdate, with a command a line, such as "add a.zone. 1 TXT x".
func (b *bind) update(ctx context.Context, commands ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, pathOf("nsupdate"), "-y", "hmac-sha256:"+tsigName+":"+tsigSecret)
	lines := append([]string{fmt.Sprintf("server 127.0.0.1 %d", b.port), "zone " + b.zone}, commands...)
	cmd.Stdin = strings.NewReader(strings.Join(append(lines, "send", ""), "\n"))
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%v\n%s", commands, output)
}

// addTXT adds a TXT record, in strings of at most 200 bytes.
func (b *bind) addTXT(ctx context.Context, name, value string) {
	GinkgoHelper()
	command := fmt.Sprintf("add %s. 1 TXT", name)
	for len(value) > 200 {
		command += fmt.Sprintf(" %q", value[:200])
		value = value[200:]
	}
	b.update(ctx, command+fmt.Sprintf(" %q", value))
}
