// Package programs runs external programs in suites: clients to their end, servers until the spec ends.
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

// Need skips a container if one of its programs is missing; with ACMECA_REQUIRE_CLIENTS=1 it fails instead. Each
// program is followed by its Debian package.
func Need(programs ...string) {
	BeforeEach(func() {
		for i := 0; i < len(programs); i += 2 {
			if Path(programs[i]) == "" {
				Lack(programs[i] + " isn't installed: apt-get install " + programs[i+1])
			}
		}
	})
}

// Lack skips a spec because something is missing, or fails it if all programs are required.
func Lack(what string) {
	GinkgoHelper()
	if Required() {
		Fail(what)
	}
	Skip(what)
}

// Required reports whether all programs are required.
func Required() bool { return os.Getenv("ACMECA_REQUIRE_CLIENTS") == "1" }

// Path finds a program, also in the directories for administrators; "" if it is missing.
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

// Run runs a program to its end. A failure fails the test with the program's output.
func Run(ctx context.Context, environment []string, program string, args ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, Path(program), args...)
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s %v\n%s", program, args, output)
}

// Process is a program that runs.
type Process struct {
	PID int
	// Log is the file with the output.
	Log string
}

// Start runs a program until the spec or container ends, and waits until it is up. If it does not start, its output
// is shown.
func Start(up func() error, environment []string, path string, args ...string) Process {
	GinkgoHelper()
	log, err := os.Create(filepath.Join(GinkgoT().TempDir(), filepath.Base(path)+".log"))
	Expect(err).NotTo(HaveOccurred())
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a process group, so that its children are killed too
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
	return Process{PID: cmd.Process.Pid, Log: log.Name()}
}

// Accepts returns a check for Start: whether an address accepts TCP connections.
func Accepts(address string) func() error {
	return func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
}

// FreePort returns a port that is free for TCP and UDP.
func FreePort() (port int) {
	GinkgoHelper()
	Expect(freeport.Choose(&port)).To(Succeed())
	return port
}
