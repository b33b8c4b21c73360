package run

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/acmeca/acmeca/internal/test/project"
)

const (
	startTime = 2 * time.Minute
	stopTime  = time.Minute
)

var _ = Describe("make run", Ordered, func() {
	var (
		root, program, dir string
		session            *gexec.Session
		authority          []byte // ca.crt of the first run
	)
	BeforeAll(func(ctx SpecContext) {
		var err error
		root, err = project.Root()
		Expect(err).NotTo(HaveOccurred())
		dir = GinkgoT().TempDir()
		program = filepath.Join(GinkgoT().TempDir(), "acmeca-local")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./hack/run")
		build.Dir = root
		output, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", output)
	})
	start := func(ctx context.Context) {
		GinkgoHelper()
		cmd := exec.Command(program, "-dir", dir, "-free-ports") // lives longer than the spec that starts it
		cmd.Dir = root
		var err error
		session, err = gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, session, startTime).Should(gbytes.Say("Ctrl-C stops everything"))
	}
	AfterAll(func() {
		if session != nil {
			session.Kill()
		}
	})

	It("ends with a first certificate and the served directory", func(ctx SpecContext) {
		start(ctx)
		text := string(session.Out.Contents())
		Expect(text).To(ContainSubstring("Names:       selfcheck.test"))
		Expect(text).To(MatchRegexp(`ACME directory: https://127\.0\.0\.1:\d+/acme/directory`))
		for _, kind := range []string{"acmeissuer", "acmeaccount", "acmeorder", "acmeauthorization"} {
			Expect(text).To(ContainSubstring(kind + ".acmeca.dev/"))
		}
		var err error
		authority, err = os.ReadFile(filepath.Join(dir, "ca.crt"))
		Expect(err).NotTo(HaveOccurred())
	}, SpecTimeout(startTime))

	It("stops all its children on SIGTERM", func(ctx SpecContext) {
		children := childrenOf(dir)
		session.Terminate()
		Eventually(ctx, session, stopTime).Should(gexec.Exit(0))
		Expect(alive(children)).To(BeEmpty())
	}, SpecTimeout(stopTime))

	It("continues with the same CA, and leaves nothing running when it is killed", func(ctx SpecContext) {
		if goruntime.GOOS != "linux" {
			Skip("only Linux kills the children of a process that dies")
		}
		start(ctx)
		Expect(os.ReadFile(filepath.Join(dir, "ca.crt"))).To(Equal(authority))
		children := childrenOf(dir)
		session.Kill()
		Eventually(ctx, func() []int { return alive(children) }, stopTime).Should(BeEmpty())
	}, SpecTimeout(startTime+stopTime))

	It("names the child that crashed, and stops the others", func(ctx SpecContext) {
		start(ctx)
		Expect(os.ReadFile(filepath.Join(dir, "ca.crt"))).To(Equal(authority))
		children := childrenOf(dir)
		Expect(syscall.Kill(children["acmeca"], syscall.SIGKILL)).To(Succeed())
		Eventually(ctx, session, stopTime).Should(gexec.Exit(1))
		Expect(string(session.Err.Contents())).To(ContainSubstring("acmeca ended: signal: killed; the end of "))
		Expect(alive(children)).To(BeEmpty())
	}, SpecTimeout(startTime+stopTime))
})

// childrenOf returns the process ids of the running children.
func childrenOf(dir string) map[string]int {
	GinkgoHelper()
	pids := map[string]int{}
	for _, name := range []string{"etcd", "kube-apiserver", "acmeca"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".pid"))
		Expect(err).NotTo(HaveOccurred())
		pids[name], err = strconv.Atoi(strings.TrimSpace(string(text)))
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(alive(pids)).To(HaveLen(3))
	return pids
}

// alive returns the running ones among processes. A zombie does not count.
func alive(pids map[string]int) []int {
	var running []int
	for _, pid := range pids {
		if syscall.Kill(pid, 0) != nil {
			continue
		}
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			continue
		}
		running = append(running, pid)
	}
	return running
}
