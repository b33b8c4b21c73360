// Command recording draws the terminal picture of the quickstart. It runs `make run` with an empty state, obtains a
// certificate with lego, shows the resources, and draws the output as an SVG: `go run ./hack/recording
// docs/images/quickstart.svg`.
//
// All text in the picture is real output. Long output is cut and ends with "...". The temporary directory of the
// state is shown as .local, the directory of `make run`.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/project"
)

// timeout bounds the recorded commands, once everything is built.
const timeout = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: recording FILE.svg")
		os.Exit(2)
	}
	if err := record(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

// recording holds the lines of a terminal.
type recording struct {
	root, dir string
	lines     []string
}

func record(ctx context.Context, file string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	if err := binaries.Ensure(ctx, os.Stderr, append(binaries.Default, "acmeca", "acmeca-local", "kubectl-acme")...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "acmeca-recording-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // errors are ignored
	r := &recording{root: root, dir: dir}
	if err := r.quickstart(ctx); err != nil {
		return err
	}
	var picture bytes.Buffer
	draw(&picture, "acmeca: from make run to a certificate", r.lines)
	return os.WriteFile(file, picture.Bytes(), 0o644)
}

// quickstart types the commands of a new user.
func (r *recording) quickstart(ctx context.Context) error {
	running, stop, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	r.prompt("make run")
	r.show(running, 24)

	environment := []string{"LEGO_CA_CERTIFICATES=" + filepath.Join(r.dir, "ca.crt"), "KUBECONFIG=" + filepath.Join(r.dir, "kubeconfig")}
	r.prompt("LEGO_CA_CERTIFICATES=.local/ca.crt lego --path .local/lego --server https://127.0.0.1:14000/acme/directory \\")
	r.lines = append(r.lines, "    --http --http.port :5002 -d hello.test --email you@hello.test --accept-tos run")
	said, err := r.run(ctx, environment, "lego", "--path", filepath.Join(r.dir, "lego"), "--server", "https://127.0.0.1:14000/acme/directory",
		"--http", "--http.port", ":5002", "-d", "hello.test", "--email", "you@hello.test", "--accept-tos", "run")
	if err != nil {
		return err
	}
	r.show(informed(said), 12)
	for _, command := range []string{
		"kubectl get acmeorders,acmeauthorizations -n acmeca-system",
		"kubectl acme status -n acmeca-system",
		"kubectl acme order hello.test -n acmeca-system",
	} {
		words := strings.Fields(command)
		r.prompt(command)
		said, err := r.run(ctx, environment, words[0], words[1:]...)
		if err != nil {
			return err
		}
		r.show(said, 40)
	}
	return nil
}

// ready is the last line of a started `make run`.
const ready = "Ctrl-C stops everything"

// start starts `make run`, and returns its output until it is ready.
func (r *recording) start(ctx context.Context) (said string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.root, "bin", "acmeca-local"), "-stop-with-parent", "-dir", r.dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt) // fails if the program has ended
		_ = cmd.Wait()
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "building ") {
			continue // skips lines about existing programs
		}
		said += lines.Text() + "\n"
		if strings.Contains(lines.Text(), ready) {
			go func() { _, _ = io.Copy(io.Discard, output) }() // drains the output, so that the program does not block
			return said, stop, nil
		}
	}
	stop()
	return "", nil, errors.Join(lines.Err(), fmt.Errorf("make run ended early:\n%s", said))
}

// run runs a program with the programs of bin/ on the PATH.
func (r *recording) run(ctx context.Context, environment []string, name string, args ...string) (string, error) {
	if _, err := os.Stat(filepath.Join(r.root, "bin", name)); err == nil {
		name = filepath.Join(r.root, "bin", name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "PATH="+filepath.Join(r.root, "bin")+":"+os.Getenv("PATH")), environment...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w\n%s", name, args, err, output)
	}
	return string(output), nil
}

// informed removes lego's lines about keys and e-mail addresses.
func informed(said string) string {
	var kept []string
	for line := range strings.Lines(said) {
		if strings.Contains(line, "[INFO]") || strings.Contains(line, "No key found") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func (r *recording) prompt(command string) {
	if len(r.lines) > 0 {
		r.lines = append(r.lines, "")
	}
	r.lines = append(r.lines, prompt+command)
}

// show adds the first lines of a program's output.
func (r *recording) show(said string, most int) {
	lines := strings.Split(strings.Trim(strings.ReplaceAll(said, r.dir, ".local"), "\n"), "\n")
	if len(lines) > most {
		lines = append(lines[:most], "...")
	}
	r.lines = append(r.lines, lines...)
}
