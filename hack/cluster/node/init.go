package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// runInit is process 1. File 3 is a pipe on which init says that it is ready, file 4 the socket to forward, if any.
func runInit() error {
	var spec nodeapi.Spec
	if err := json.Unmarshal([]byte(os.Getenv(specVariable)), &spec); err != nil {
		return err
	}
	ready := os.NewFile(3, "ready")
	if spec.NetworkOnly {
		fmt.Fprintln(ready, "ready")
		ready.Close()
		pause()
		return nil
	}
	if err := prepare(spec); err != nil {
		return err
	}
	if spec.Listen != "" {
		listener, err := net.FileListener(os.NewFile(4, "listener"))
		if err != nil {
			return err
		}
		go forward(listener, spec.Forward)
	}
	programs := newSupervisor()
	listener, err := net.Listen("unix", nodeapi.Socket)
	if err != nil {
		return err
	}
	fmt.Fprintln(ready, "ready")
	ready.Close()
	go programs.reap()
	return programs.serve(listener)
}

// prepare mounts the node's file systems, which only the node sees.
func prepare(spec nodeapi.Spec) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	_ = syscall.Unmount("/sys/fs/cgroup", syscall.MNT_DETACH) // may not be mounted
	type mount struct{ source, target, kind, options string }
	mounts := []mount{
		{"tmpfs", "/run", "tmpfs", "mode=755"},
		{"sysfs", "/sys", "sysfs", ""}, // shows this network namespace
		{"proc", "/proc", "proc", ""},
	}
	if len(spec.Cgroups) != 1 || spec.Cgroups[0].Name != "" {
		mounts = append(mounts, mount{"tmpfs", "/sys/fs/cgroup", "tmpfs", "mode=755"})
	}
	for _, h := range spec.Cgroups {
		mounts = append(mounts, mount{"cgroup", filepath.Join("/sys/fs/cgroup", h.Name), h.Type, h.Options})
	}
	for _, m := range mounts {
		_ = os.MkdirAll(m.target, 0o755) // sysfs has its directories
		if err := syscall.Mount(m.source, m.target, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mounting %s with %q at %s: %w", m.kind, m.options, m.target, err)
		}
	}
	if err := delegateCgroup2(spec.Cgroups); err != nil {
		return err
	}
	for _, dir := range []string{"/run/lock", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/run/resolv.conf", []byte(spec.Resolv), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount("/run/resolv.conf", "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("replacing /etc/resolv.conf: %w", err)
	}
	// Containers' mounts propagate within the node.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(spec.Hostname)); err != nil {
		return err
	}
	return exec.Command("ip", "link", "set", "lo", "up").Run()
}

// delegateCgroup2 lets the kubelet make cgroups below the node's. A cgroup of version 2 with controllers for its
// children has no processes of its own, so process 1 moves into a leaf first.
func delegateCgroup2(hierarchies []nodeapi.Hierarchy) error {
	if len(hierarchies) != 1 || hierarchies[0].Type != "cgroup2" {
		return nil
	}
	const top, leaf = "/sys/fs/cgroup", "/sys/fs/cgroup/init"
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(leaf+"/cgroup.procs", []byte("1"), 0); err != nil {
		return err
	}
	for _, controller := range []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} {
		// The kubelet names those that it misses.
		_ = os.WriteFile(top+"/cgroup.subtree_control", []byte("+"+controller), 0)
	}
	return nil
}

// forward connects each connection of a listener to an address in the node.
func forward(listener net.Listener, address string) {
	for {
		outside, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = outside.Close() }() // a connection that ended
			inside, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer func() { _ = inside.Close() }()
			ended := make(chan struct{}, 2)
			for _, pair := range [][2]net.Conn{{outside, inside}, {inside, outside}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1]) // an error ends the connection, as the end of the stream does
					ended <- struct{}{}
				}()
			}
			<-ended
		}()
	}
}
