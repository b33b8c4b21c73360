package relyingparties

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// guideFile has a section for each program, named after it. The specs run its blocks.
const guideFile = "revocation.md"

// site is the machine of the guide's reader: a directory in place of /etc/acmeca, and free ports.
type site struct {
	dir   string
	port  int // of the server that verifies
	shell *guide.Shell
}

// newSite returns a site with the files of the first phase.
func newSite() *site {
	GinkgoHelper()
	s := &site{dir: GinkgoT().TempDir(), port: programs.FreePort()}
	// Servers started by root serve as another user.
	for dir := s.dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		Expect(os.Chmod(dir, 0o755)).To(Succeed())
	}
	s.shell = &guide.Shell{Dir: s.dir, Environment: []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin"}}
	s.replace()
	s.write("ca.crt", pki.roots)
	s.write("tls.crt", pki.chain("server"))
	s.write("tls.key", pki.key("server"))
	s.refresh(phases[0])
	return s
}

// replace sets the values for those of the guide. Additional pairs come first.
func (s *site) replace(pairs ...string) {
	s.shell.Here = strings.NewReplacer(append(pairs, "/etc/acmeca/", s.dir+"/", "localhost", address, "8443", strconv.Itoa(s.port), "8883", strconv.Itoa(s.port))...)
}

// refresh installs the CRLs of a phase, as a reader of the guide does.
func (s *site) refresh(p *phase) {
	GinkgoHelper()
	s.write("crls.pem.new", p.crls)
	Expect(os.Rename(s.path("crls.pem.new"), s.path("crls.pem"))).To(Succeed())
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name string, text []byte) string {
	GinkgoHelper()
	Expect(os.WriteFile(s.path(name), text, 0o644)).To(Succeed())
	return s.path(name)
}

// file returns the first block of a language under a heading, for this site.
func (s *site) file(heading, language string) string {
	GinkgoHelper()
	return s.shell.Here.Replace(guide.File(guide.Section(guideFile, heading), language))
}

// run runs the shell blocks under a heading, and returns their output and whether they succeeded.
func (s *site) run(ctx context.Context, heading string) (string, bool) {
	GinkgoHelper()
	cmd := s.shell.Command(guide.Commands(guide.Section(guideFile, heading)))
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	output, err := cmd.CombinedOutput()
	return string(output), err == nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
