package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// ErrUnavailable reports that this machine can't run a cluster.
var ErrUnavailable = errors.New("this machine can't run `make cluster`; use kind or k3d instead")

// needed lists programs, and the Debian packages that contain them.
var needed = []struct{ program, pkg string }{
	{"runc", "runc"},
	{"/usr/lib/cni/bridge", "containernetworking-plugins"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"ipset", "ipset"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
}

// systemPath is where Debian has programs for root.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Check returns an error that says why this machine can't run a cluster. Check changes nothing.
func Check() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: it needs Linux", ErrUnavailable)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root, for namespaces and containers", ErrUnavailable)
	}
	if packages := missingPackages(lookPath); len(packages) > 0 {
		return fmt.Errorf("%w: install the missing packages: apt-get install --no-install-recommends %s", ErrUnavailable, strings.Join(packages, " "))
	}
	if err := checkKernel(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func missingPackages(look func(string) error) []string {
	var packages []string
	for _, n := range needed {
		if look(n.program) != nil {
			packages = append(packages, n.pkg)
		}
	}
	return packages
}

func lookPath(program string) error {
	if filepath.IsAbs(program) {
		_, err := os.Stat(program)
		return err
	}
	for dir := range strings.SplitSeq(systemPath, ":") {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return nil
		}
	}
	return os.ErrNotExist
}

// checkKernel tries what the nodes do, in a network namespace and a mount namespace that end with each command.
func checkKernel() error {
	if err := checkCgroups(); err != nil {
		return err
	}
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !strings.Contains(string(filesystems), "\toverlay\n") {
		return errors.New("the kernel has no overlay file system (modprobe overlay)")
	}
	for _, try := range []struct{ what, command string }{
		{"namespaces", "true"},
		{"bridges and veth pairs", "ip link add b0 type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master b0"},
		{"filters of bridges (modprobe br_netfilter)", "test -e /proc/sys/net/bridge/bridge-nf-call-iptables"},
		{"nftables", "nft add table inet acmeca && nft add chain inet acmeca c '{ type nat hook prerouting priority dstnat; }'"},
		{"ipset", "ipset create acmeca hash:ip"},
		{"iptables with sets and comments", "ipset create acmeca hash:ip && iptables -A INPUT -m set --match-set acmeca src -m comment --comment c -m mark --mark 1 -j ACCEPT"},
	} {
		if output, err := isolated(try.command).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", try.what, err, strings.TrimSpace(string(output)))
		}
	}
	return nil
}

// checkCgroups makes the cgroups of a node, and removes them.
func checkCgroups() error {
	name := fmt.Sprintf("acmeca-cluster-check-%d", os.Getpid())
	_, _, err := makeCgroups(name, "node")
	return errors.Join(err, removeCgroups(name))
}

// isolated returns a shell command in namespaces of its own.
func isolated(command string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-ec", command)
	cmd.Env = []string{"PATH=" + systemPath}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS |
			syscall.CLONE_NEWCGROUP,
	}
	return cmd
}
