package cluster

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
)

var _ = Describe("make cluster", func() {
	It("starts after a start that was killed, and leaves nothing", func(ctx SpecContext) {
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		scratch := GinkgoT().TempDir()
		program, dir := filepath.Join(scratch, "program"), filepath.Join(scratch, "state")
		Expect(exec.CommandContext(ctx, "go", "build", "-o", program, project.Module+"/hack/cluster").Run()).To(Succeed())
		run := func(args ...string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, program, append([]string{"-dir", dir}, args...)...)
			cmd.Dir = root
			return cmd
		}
		DeferCleanup(func() { _ = exec.Command(program, "-down", "-dir", dir).Run() }) // of a spec that failed
		filters := packetFilters()

		By("killing a start with a control plane and half a node")
		killed := run("-bare")
		progress, err := killed.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(killed.Start()).To(Succeed())
		for lines := bufio.NewScanner(progress); lines.Scan() && !strings.Contains(lines.Text(), "control plane"); {
		}
		Expect(killed.Process.Kill()).To(Succeed())
		Expect(killed.Wait()).NotTo(Succeed())
		Expect(traces(dir)).NotTo(BeEmpty())

		By("removing it")
		Expect(run("-down").Run()).To(Succeed())
		Expect(traces(dir)).To(BeEmpty())

		By("starting twice in a row, and removing it")
		for range 2 {
			output, err := run("-bare").CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
		}
		Expect(run("-down").Run()).To(Succeed())
		Expect(traces(dir)).To(BeEmpty())
		Expect(packetFilters()).To(Equal(filters))
	}, SpecTimeout(specTime))
})

// packetFilters returns the rules of this machine's network namespace.
func packetFilters() string {
	GinkgoHelper()
	output, err := exec.Command("nft", "list", "ruleset").Output()
	Expect(err).NotTo(HaveOccurred())
	return string(output)
}

// traces returns mounts, processes and cgroups of a cluster, by the directory of its state.
func traces(dir string) []string {
	GinkgoHelper()
	var found []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			found = append(found, line)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	Expect(err).NotTo(HaveOccurred())
	for _, path := range commands {
		if path == "/proc/"+strconv.Itoa(os.Getpid())+"/cmdline" {
			continue
		}
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(dir)) {
			found = append(found, string(text))
		}
	}
	Expect(filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == cluster.CgroupName(dir) {
			found = append(found, path)
		}
		return nil
	})).To(Succeed())
	return found
}
