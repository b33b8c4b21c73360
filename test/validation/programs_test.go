package validation

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// needPrograms skips a container when one of its programs isn't installed; with ACMECA_REQUIRE_CLIENTS=1 it fails instead.
// Each is followed by the package that has it.
func needPrograms(programs ...string) {
	BeforeEach(func() {
		for i := 0; i < len(programs); i += 2 {
			if pathOf(programs[i]) == "" {
				lacking(programs[i] + " isn't installed: apt-get install " + programs[i+1])
			}
		}
	})
}

func lacking(what string) {
	GinkgoHelper()
	if required() {
		Fail(what)
	}
	Skip(what)
}

func required() bool { return os.Getenv("ACMECA_REQUIRE_CLIENTS") == "1" }

// pathOf finds a program, also one that is for administrators.
func pathOf(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, program); isExecutable(path) {
			return path
		}
	}
	return ""
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// needCertbotRFC2136 is for certbot's plugin, which is no program.
func needCertbotRFC2136() {
	BeforeEach(func(ctx SpecContext) {
		if output, err := exec.CommandContext(ctx, "certbot", "plugins").CombinedOutput(); err != nil || !strings.Contains(string(output), "dns-rfc2136") {
			lacking("certbot's dns-rfc2136 isn't installed: apt-get install python3-certbot-dns-rfc2136")
		}
	})
}

// run runs a program to its end, and fails the test with its output when it fails.
func run(ctx context.Context, environment []string, program string, args ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, pathOf(program), args...)
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s %v\n%s", program, args, output)
}

// startServer runs a program until the spec or container ends, and waits until it is up. Its output goes into a file that
// is shown when it doesn't come up.
func startServer(up func() error, path string, args ...string) {
	GinkgoHelper()
	log, err := os.Create(filepath.Join(GinkgoT().TempDir(), filepath.Base(path)+".log"))
	Expect(err).NotTo(HaveOccurred())
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children, which it may leave behind
	Expect(cmd.Start()).To(Succeed())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	DeferCleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	output := func() string {
		text, _ := os.ReadFile(log.Name())
		return string(text)
	}
	Eventually(func(g Gomega) {
		g.Expect(ended).NotTo(BeClosed(), "%s %v ended\n%s", path, args, output())
		err := up()
		g.Expect(err).NotTo(HaveOccurred(), "%s %v\n%s", path, args, output())
	}, "15s", "20ms").Should(Succeed())
}
