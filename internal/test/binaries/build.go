package binaries

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// buildAll builds the programs into the cache and installs them in bin/.
func (b *builder) buildAll(missing []program) error {
	if len(missing) == 0 {
		return nil
	}
	names := make([]string, 0, len(missing))
	for _, p := range missing {
		names = append(names, p.name+" "+b.versions[p.module])
	}
	fmt.Fprintf(b.progress, "Building %s from their Go modules. This is done once and takes minutes (5 on 2 cores for the control plane).\n",
		strings.Join(names, ", "))
	r := newReporter(b.progress)
	defer r.stop()

	r.begin("downloading modules")
	packages, err := b.countPackages(missing, r)
	if err != nil {
		return err
	}
	r.expect(packages)
	for _, p := range missing {
		r.begin("building " + p.name)
		if err := b.build(p, r); err != nil {
			return err
		}
		if err := b.install(p); err != nil {
			return err
		}
		r.line("built " + p.name)
	}
	return nil
}

// buildOwn builds programs of this source tree into bin/.
func (b *builder) buildOwn(names []string) error {
	if len(names) == 0 {
		return nil
	}
	r := newReporter(b.progress)
	defer r.stop()
	for _, name := range names {
		r.begin("building " + name)
		args := []string{"build", "-v", "-o", filepath.Join(b.bin, name)}
		environment := os.Environ()
		if pkg := static[name]; pkg != "" {
			args = append(args, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", pkg)
			environment = append(environment, "CGO_ENABLED=0")
		} else {
			args = append(args, own[name])
		}
		cmd := exec.CommandContext(b.ctx, "go", args...)
		cmd.Env = environment
		if _, err := runGo(cmd, b.root, r); err != nil {
			return err
		}
	}
	return nil
}

// countPackages downloads the modules of the programs and counts their packages.
func (b *builder) countPackages(missing []program, r *reporter) (int, error) {
	packages := map[string]bool{}
	for _, p := range missing {
		output, err := b.run(p, r, "list", "-deps", "-tags", p.tags, p.pkg)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(output)) {
			packages[line] = true
		}
	}
	return len(packages), nil
}

// build compiles one program into the cache. The file gets its name only when it is complete.
func (b *builder) build(p program, r *reporter) error {
	temporary := fmt.Sprintf("%s.%d", b.cached(p), os.Getpid())
	defer func() { _ = os.Remove(temporary) }() // a failed build may leave a file
	_, err := b.run(p, r, "build", "-v", "-trimpath", "-buildvcs=false", "-tags", p.tags, "-ldflags", b.linkerFlags(p), "-o", temporary, p.pkg)
	if err != nil {
		return err
	}
	return os.Rename(temporary, b.cached(p))
}

// linkerFlags strip debugging tables and set the version, as the programs' own builds do. An API server without a
// version reports v0.0.0, which some clients refuse.
func (b *builder) linkerFlags(p program) string {
	version := b.versions[p.module]
	flags := []string{"-s", "-w"}
	switch p.module {
	case kubernetesModule:
		major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
		minor, _, _ := strings.Cut(rest, ".")
		flags = append(flags,
			"-X k8s.io/client-go/pkg/version.gitVersion="+version,
			"-X k8s.io/component-base/version.gitVersion="+version,
			"-X k8s.io/component-base/version.gitMajor="+major,
			"-X k8s.io/component-base/version.gitMinor="+minor)
	case containerdModule:
		flags = append(flags, "-X "+containerdModule+"/version.Version="+version)
	case certManagerModule:
		flags = append(flags, "-X "+certManagerModule+"/pkg/util.AppVersion="+version)
	case stepModule:
		flags = append(flags, "-X main.Version="+strings.TrimPrefix(version, "v"))
	}
	return strings.Join(flags, " ")
}

// run runs the go command in a program's nested module, for static programs.
func (b *builder) run(p program, r *reporter, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(b.ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return runGo(cmd, b.nested(p), r)
}

// runGo runs a go command in a directory and returns its output. Standard error goes to the reporter, and into the
// error if the command fails.
func runGo(cmd *exec.Cmd, dir string, r *reporter) ([]byte, error) {
	cmd.Dir = dir
	said, writer := io.Pipe()
	cmd.Stderr = writer
	tail := make(chan string)
	go func() { tail <- r.follow(said) }()
	output, err := cmd.Output()
	writer.Close()
	last := <-tail
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:2], " "), err, last)
	}
	return output, nil
}

// reportEvery is the interval between reports.
const reportEvery = 5 * time.Second

// A reporter shows the progress of a build every few seconds.
type reporter struct {
	out     io.Writer
	start   time.Time
	stopped chan struct{}

	mu       sync.Mutex
	task     string // the current task
	now      string // the package being compiled, or the module being downloaded
	compiled int
	expected int
}

func newReporter(out io.Writer) *reporter {
	r := &reporter{out: out, start: time.Now(), stopped: make(chan struct{})}
	go func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.report()
			case <-r.stopped:
				return
			}
		}
	}()
	return r
}

func (r *reporter) stop() { close(r.stopped) }

func (r *reporter) begin(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.task, r.now = task, ""
}

// expect sets the number of packages of the programs. Packages in the build cache are never reported as compiled, so
// the number is an upper bound.
func (r *reporter) expect(packages int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = packages
}

func (r *reporter) report() {
	r.mu.Lock()
	text := r.task
	if r.compiled > 0 {
		text += fmt.Sprintf(", %d packages compiled", r.compiled)
	}
	if r.expected > 0 {
		text += fmt.Sprintf(" (of %d at most)", r.expected)
	}
	if r.now != "" {
		text += ", now " + r.now
	}
	r.mu.Unlock()
	r.line(text)
}

func (r *reporter) line(text string) {
	fmt.Fprintf(r.out, "  %6s  %s\n", time.Since(r.start).Round(time.Second), text)
}

// keptLines is the number of last lines shown of a failed command.
const keptLines = 20

// follow reads the go command's messages: the name of each package that `go build -v` begins to compile, the modules
// being downloaded, and errors. follow returns the last lines.
func (r *reporter) follow(said io.Reader) string {
	var last []string
	for scanner := bufio.NewScanner(said); scanner.Scan(); {
		line := scanner.Text()
		r.note(line)
		last = append(last, line)
		last = last[max(0, len(last)-keptLines):]
	}
	_, _ = io.Copy(io.Discard, said) // an overlong line ends the scan; the writer mustn't block on it
	return strings.Join(last, "\n")
}

func (r *reporter) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if module, ok := strings.CutPrefix(line, "go: downloading "); ok {
		r.now = module
		return
	}
	if strings.ContainsAny(line, " :") { // an error or a warning, not a package
		return
	}
	r.now = line
	r.compiled++
}
