//go:build unix

// Package process runs programs as children that can't outlive the program that started them.
//
// A child has a process group of its own, so that a Ctrl-C in the terminal reaches only the parent, which can then stop
// its children in the right order. On Linux the kernel kills a child whose parent has died, whatever the cause;
// elsewhere KillStale ends what an earlier run left behind.
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

// Spec says what to run.
type Spec struct {
	Name string   // what people call it, in messages
	Path string   // the program
	Args []string // without the program's name
	Env  []string // like exec.Cmd.Env: nil is the parent's
	Log  string   // the file that gets its standard output and error; the previous run's is kept as Log + ".old"
	PID  string   // the file that holds its process id while it runs; "" for none
}

// Process is a child that was started.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; written before done is closed
}

// Start runs the program. The error is about starting it; how it ends is told by Done and Err.
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
		// The parent-death signal is tied to the thread that started the child, not to the whole process, so this
		// thread is kept for as long as the child lives.
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

// Name is what people call the program.
func (p *Process) Name() string { return p.spec.Name }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LogFile is the path of the file with the program's output.
func (p *Process) LogFile() string { return p.spec.Log }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the program ended, nil for a clean exit. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Stop asks the program to end, waits, and kills it when it hasn't ended after grace. It returns when it has ended.
func (p *Process) Stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended already
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Kill ends the program at once, as a power cut would, and returns when it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended already
	<-p.done
}

// Failure describes a program that ended by itself: how, and its last words.
func (p *Process) Failure() error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%s ended: %s; the end of %s:\n%s", p.Name(), how, p.spec.Log, p.LogTail(20))
}

// maxTail bounds how much of a log is read for its last lines.
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
