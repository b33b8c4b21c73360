// Package container runs the operator's halves within the memory limits of the manifests, as containers do.
package container

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/internal/test/process"
	"github.com/acmeca/acmeca/internal/test/project"
)

// Container is the memory limit of a half: "controller" or "server".
type Container struct {
	Half string
	// Limit is in bytes.
	Limit int64

	cgroup string // "" if the kernel does not enforce the limit
}

// New returns a container with the limit in the half's Deployment. The kernel enforces the limit if this process may make a
// cgroup. Otherwise only the peak of a process tells whether it stays within.
func New(half string) (*Container, error) {
	limit, err := shippedLimit(half)
	if err != nil {
		return nil, err
	}
	c := &Container{Half: half, Limit: limit}
	c.cgroup, _ = makeCgroup(fmt.Sprintf("acmeca-%s-%d", half, made.Add(1)), limit) // see above
	return c, nil
}

// made counts the containers of this process, for their names.
var made atomic.Int64

// Start starts a process in the container.
func (c *Container) Start(spec process.Spec) (*process.Process, error) {
	if spec.Env == nil {
		spec.Env = os.Environ()
	}
	spec.Env = append(spec.Env, "ACMECA_MEMORY_LIMIT="+strconv.FormatInt(c.Limit, 10))
	p, err := process.Start(spec)
	if err != nil {
		return nil, err
	}
	if err := c.Add(p.PID()); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// shippedLimit reads the memory limit of a half from its Deployment.
func shippedLimit(half string) (int64, error) {
	root, err := project.Root()
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(root, "config", half, "deployment.yaml"))
	if err != nil {
		return 0, err
	}
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		return 0, err
	}
	for _, container := range deployment.Spec.Template.Spec.Containers {
		if limit := container.Resources.Limits.Memory().Value(); limit > 0 {
			return limit, nil
		}
	}
	return 0, fmt.Errorf("the Deployment of the %s has no memory limit", half)
}

// Enforced reports whether the kernel kills a process that exceeds the limit.
func (c *Container) Enforced() bool { return c.cgroup != "" }

// Add puts a process that was just started into the container.
func (c *Container) Add(pid int) error {
	if !c.Enforced() {
		return nil
	}
	return os.WriteFile(filepath.Join(c.cgroup, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// Killed returns how many processes the kernel killed because they exceeded the limit.
func (c *Container) Killed() int {
	if !c.Enforced() {
		return 0
	}
	for _, file := range []string{"memory.oom_control", "memory.events"} {
		text, err := os.ReadFile(filepath.Join(c.cgroup, file))
		if err != nil {
			continue // of the other version
		}
		for line := range strings.Lines(string(text)) {
			var killed int
			if _, err := fmt.Sscanf(line, "oom_kill %d", &killed); err == nil {
				return killed
			}
		}
	}
	return 0
}

// Close removes the container, whose processes have ended.
func (c *Container) Close() {
	if c.Enforced() {
		_ = os.Remove(c.cgroup) // a cgroup that stays does no harm
	}
}

// Usage is the resident memory of a process in bytes.
type Usage struct{ Now, Peak int64 }

// UsageOf returns the resident memory of a process.
func UsageOf(pid int) (Usage, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for line := range bytes.Lines(text) {
		var name string
		var kib int64
		if _, err := fmt.Sscan(string(line), &name, &kib); err != nil {
			continue // a line without a number
		}
		switch name {
		case "VmRSS:":
			u.Now = kib << 10
		case "VmHWM:":
			u.Peak = kib << 10
		}
	}
	return u, nil
}

// ResetPeak makes the current usage of a process its peak.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// makeCgroup makes a cgroup with a memory limit, of version 1 or 2.
func makeCgroup(name string, limit int64) (string, error) {
	name = fmt.Sprintf("%s-%d", name, os.Getpid())
	var errs []error
	for _, try := range []struct{ parent, file string }{
		{filepath.Join("/sys/fs/cgroup/memory", ownCgroup()), "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		path := filepath.Join(try.parent, name)
		if _, err := os.Stat(filepath.Join(try.parent, "cgroup.procs")); err != nil {
			errs = append(errs, err)
			continue
		}
		err := os.Mkdir(path, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(path, try.file), []byte(strconv.FormatInt(limit, 10)), 0)
		}
		if err == nil {
			return path, nil
		}
		_ = os.Remove(path) // err matters more
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// ownCgroup returns this process's path in the memory hierarchy of cgroup version 1.
func ownCgroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && strings.Contains(","+parts[1]+",", ",memory,") {
			return parts[2]
		}
	}
	return ""
}
