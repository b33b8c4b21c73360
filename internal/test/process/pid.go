//go:build unix

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func (p *Process) writePID() error {
	if p.spec.PID == "" {
		return nil
	}
	return os.WriteFile(p.spec.PID, []byte(strconv.Itoa(p.PID())+"\n"), 0o600)
}

func (p *Process) removePID() {
	if p.spec.PID != "" {
		_ = os.Remove(p.spec.PID) // the next start finds a remaining file stale
	}
}

// KillStale kills the process whose id pidFile holds, left behind by a crashed run. Process ids are reused, so the
// process is killed only if its command line contains mark, a text unique to our child, such as its data directory.
func KillStale(pidFile, mark string) error {
	text, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && pid > 1 && strings.Contains(commandLine(pid), mark) {
		if err := killAndWait(pid, mark); err != nil {
			return err
		}
	}
	return os.Remove(pidFile)
}

// staleWait bounds the wait for the end of a killed process that is not our child.
const staleWait = 10 * time.Second

func killAndWait(pid int, mark string) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending process %d of an earlier run: %w", pid, err)
	}
	for deadline := time.Now().Add(staleWait); strings.Contains(commandLine(pid), mark); {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d of an earlier run doesn't end", pid)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// commandLine returns the command line of a running process, or "" if there is no such process.
func commandLine(pid int) string {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		return string(bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
	}
	text, err := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return string(text)
}
