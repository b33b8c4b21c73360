//go:build unix

package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary act as the parent that dies.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PROCESS_TEST_PARENT"); dir != "" {
		p, err := Start(Spec{Name: "sleep", Path: "/bin/sleep", Args: []string{"300"}, Log: filepath.Join(dir, "log")})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID())
		select {}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, script string) *Process {
	t.Helper()
	dir := t.TempDir()
	p, err := Start(Spec{
		Name: "shell", Path: "/bin/sh", Args: []string{"-c", script},
		Log: filepath.Join(dir, "log"), PID: filepath.Join(dir, "pid"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// eventually waits for an effect of another process.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 500 {
		if condition() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no %s after 10 s", what)
}

func TestFailureTellsTheLastWords(t *testing.T) {
	p := start(t, "seq 1 100; echo last words >&2; exit 3")
	message := p.Failure().Error()
	if !strings.Contains(message, "exit status 3") || !strings.HasSuffix(message, "  100\n  last words") {
		t.Errorf("got %q", message)
	}
	if got := p.LogTail(2); got != "  100\n  last words" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(p.spec.PID); err == nil {
		t.Error("the pid file still exists")
	}
}

func TestStopAsksFirst(t *testing.T) {
	p := start(t, "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	eventually(t, "ready", func() bool { return strings.Contains(p.LogTail(5), "ready") })
	p.Stop(10 * time.Second)
	if err := p.Err(); err != nil {
		t.Error(err)
	}
	if got := p.LogTail(1); got != "  asked" {
		t.Errorf("got %q", got)
	}
}

func TestStopIsBounded(t *testing.T) {
	p := start(t, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
	eventually(t, "ready", func() bool { return strings.Contains(p.LogTail(5), "ready") })
	p.Stop(50 * time.Millisecond)
	if err := p.Err(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("got %v", err)
	}
}

func TestStartOfAMissingProgram(t *testing.T) {
	if _, err := Start(Spec{Name: "nothing", Path: "/nonexistent", Log: filepath.Join(t.TempDir(), "log")}); err == nil {
		t.Error("started")
	}
}

func TestLogOfThePreviousRunIsKept(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for _, word := range []string{"first", "second"} {
		p, err := Start(Spec{Name: "echo", Path: "/bin/echo", Args: []string{word}, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
	}
	for path, want := range map[string]string{log: "second\n", log + ".old": "first\n"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", path, got, err)
		}
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a parent-death signal")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "PROCESS_TEST_PARENT="+t.TempDir())
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	if !strings.Contains(commandLine(child), "sleep") {
		t.Fatalf("process %d isn't the child", child)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	eventually(t, "the child's end", func() bool { return !strings.Contains(commandLine(child), "sleep") })
}

func TestKillStale(t *testing.T) {
	p := start(t, "sleep 300; : mark-of-ours")
	pid := filepath.Join(t.TempDir(), "pid")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(pid, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, harmless := range []string{"", "nonsense", "1", "-1", strconv.Itoa(os.Getpid())} {
		write(harmless)
		if err := KillStale(pid, "mark-of-ours"); err != nil {
			t.Errorf("%q: %v", harmless, err)
		}
		if _, err := os.Stat(pid); err == nil {
			t.Errorf("%q: the file still exists", harmless)
		}
	}
	if err := KillStale(pid, "mark-of-ours"); err != nil {
		t.Errorf("no file: %v", err)
	}
	if err := syscall.Kill(p.PID(), 0); err != nil {
		t.Fatalf("the child should live: %v", err)
	}
	write(strconv.Itoa(p.PID()))
	if err := KillStale(pid, "mark-of-ours"); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}
