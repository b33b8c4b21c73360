// Package programs runs other people's programs in suites: clients to their end, servers until the spec ends.
package programs

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

// Need skips a container when one of its programs isn't installed; with ACMECA_REQUIRE_CLIENTS=1 it fails instead. Each is
// followed by the Debian package that has it.
func Need(programs ...string) {
	BeforeEach(func() {
		for i := 0; i < len(programs); i += 2 {
			if Path(programs[i]) == "" {
				Lack(programs[i] + " isn't installed: apt-get install " + programs[i+1])
			}
		}
	})
}

// Lack skips a spec for want of something, or fails it where nothing may be wanting.
func Lack(what string) {
	GinkgoHelper()
	if Required() {
		Fail(what)
	}
	Skip(what)
}

// Required is whether all programs have to be there.
func Required() bool { return os.Getenv("ACMECA_REQUIRE_CLIENTS") == "1" }

// Path finds a program, also one that is for administrators; "" when it isn't there.
func Path(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	return ""
}

// Run runs a program to its end, and fails the test with its output when it fails.
func Run(ctx context.Context, environment []string, program string, args ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, Path(program), args...)
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s %v\n%s", program, args, output)
}

// Start runs a program until the spec or container ends, and waits until it is up. Its output goes into a file that is
// shown when it doesn't come up.
func Start(up func() error, environment []string, path string, args ...string) {
	GinkgoHelper()
	log, err := os.Create(filepath.Join(GinkgoT().TempDir(), filepath.Base(path)+".log"))
	Expect(err).NotTo(HaveOccurred())
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), environment...)
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
	}, "30s", "20ms").Should(Succeed())
}

// Accepts is for Start: up is who takes TCP connections.
func Accepts(address string) func() error {
	return func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
}

// FreePort is one of TCP and UDP that nobody uses now.
func FreePort() (port int) {
	GinkgoHelper()
	Expect(freeport.Choose(&port)).To(Succeed())
	return port
}
