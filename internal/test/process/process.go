//go:build unix

// Package process runs programs as children that cannot outlive the program that started them.
//
// Each child has its own process group, so a Ctrl-C in the terminal reaches only the parent, which then stops its
// children in the right order. On Linux the kernel kills a child whose parent has died, for any reason. Elsewhere
// KillStale kills the leftovers of an earlier run.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Spec describes a program to run.
type Spec struct {
	Name string   // for messages
	Path string   // the program
	Args []string // without the program's name
	Env  []string // like exec.Cmd.Env: nil is the parent's
	Log  string   // file for standard output and error; the previous run's is kept as Log + ".old"
	PID  string   // file with the process id while the program runs; "" for none
}

// Process is a started child.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{}
	err  error // set before done is closed
}

// Start runs the program. The error is about the start. Done and Err report the end.
func Start(spec Spec) (*Process, error) {
	log, err := openLog(spec.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = spec.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()

	p := &Process{spec: spec, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal belongs to the thread that started the child, not to the whole process. So this
		// thread is kept for the life of the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			err = p.writePID()
		}
		started <- err
		if cmd.Process == nil {
			return
		}
		p.err = cmd.Wait()
		p.removePID()
		close(p.done)
	}()
	if err := <-started; err != nil {
		if cmd.Process != nil {
			p.Kill()
		}
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	return p, nil
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// Name returns the name of the program.
func (p *Process) Name() string { return p.spec.Name }

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LogFile returns the path of the file with the program's output.
func (p *Process) LogFile() string { return p.spec.Log }

// Done returns a channel that is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err waits for the end of the program and returns its error, or nil for a clean exit.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Stop asks the program to end, waits, and kills the program after grace. Stop returns when the program has ended.
func (p *Process) Stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if the program has ended
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Kill kills the program, as a power cut does, and returns when the program has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails if the program has ended
	<-p.done
}

// Failure describes a program that ended by itself: its exit status and last output.
func (p *Process) Failure() error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%s ended: %s; the end of %s:\n%s", p.Name(), how, p.spec.Log, p.LogTail(20))
}

// maxTail bounds the bytes of a log that are read for its last lines.
const maxTail = 64 << 10

// LogTail returns at most the last n lines of the program's output, indented.
func (p *Process) LogTail(n int) string {
	file, err := os.Open(p.spec.Log)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	text := make([]byte, min(info.Size(), maxTail))
	if _, err := file.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	return "  " + strings.Join(lines, "\n  ")
}
