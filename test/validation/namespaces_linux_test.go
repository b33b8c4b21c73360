package validation

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// needNamespaces skips a container without network namespaces, and names the reason.
func needNamespaces() {
	BeforeEach(func(ctx SpecContext) {
		if os.Geteuid() != 0 {
			Skip("network namespaces need root")
		}
		if pathOf("ip") == "" {
			lacking("ip isn't installed: apt-get install iproute2")
		}
		probe := fmt.Sprintf("acmeca-probe-%d", os.Getpid())
		if output, err := exec.CommandContext(ctx, pathOf("ip"), "netns", "add", probe).CombinedOutput(); err != nil {
			Skip("network namespaces are not available here: " + strings.TrimSpace(string(output)))
		}
		run(ctx, nil, "ip", "netns", "del", probe)
	})
}

// namespace is a network namespace: traffic passes only over its links.
type namespace struct{ name string }

var namespaces, links atomic.Int32

func newNamespace(ctx context.Context, label string) *namespace {
	GinkgoHelper()
	n := &namespace{fmt.Sprintf("acmeca-%d-%d-%s", os.Getpid(), namespaces.Add(1), label)}
	run(ctx, nil, "ip", "netns", "add", n.name)
	DeferCleanup(func(ctx SpecContext) { run(ctx, nil, "ip", "netns", "del", n.name) })
	run(ctx, nil, "ip", "-n", n.name, "link", "set", "lo", "up")
	return n
}

// link connects the namespace to another one, or to the host if that is nil, and returns the address of each end.
func (n *namespace) link(ctx context.Context, other *namespace) (mine, theirs string) {
	GinkgoHelper()
	// 198.18.0.0/15 is reserved for tests (RFC 2544).
	number := links.Add(1)
	pair := [2]string{fmt.Sprintf("av%d-%da", os.Getpid()%100000, number), fmt.Sprintf("av%d-%db", os.Getpid()%100000, number)}
	addresses := [2]string{fmt.Sprintf("198.18.%d.1", number), fmt.Sprintf("198.18.%d.2", number)}
	run(ctx, nil, "ip", "link", "add", pair[0], "type", "veth", "peer", "name", pair[1])
	for i, at := range []*namespace{n, other} {
		var in []string
		if at != nil {
			run(ctx, nil, "ip", "link", "set", pair[i], "netns", at.name)
			in = []string{"-n", at.name}
		}
		run(ctx, nil, "ip", append(in[:len(in):len(in)], "addr", "add", addresses[i]+"/24", "dev", pair[i])...)
		run(ctx, nil, "ip", append(in[:len(in):len(in)], "link", "set", pair[i], "up")...)
	}
	return addresses[0], addresses[1]
}

// unreachable makes an address unreachable from the host, also with a default route.
func unreachable(ctx context.Context, address string) {
	GinkgoHelper()
	run(ctx, nil, "ip", "route", "add", "unreachable", address+"/32")
	DeferCleanup(func(ctx SpecContext) { run(ctx, nil, "ip", "route", "del", "unreachable", address+"/32") })
	_, err := net.DialTimeout("tcp", address+":80", time.Second)
	Expect(err).To(MatchError(Or(ContainSubstring("no route to host"), ContainSubstring("unreachable"))))
}

// command returns the prefix that runs a program in the namespace.
func (n *namespace) command() []string { return []string{pathOf("ip"), "netns", "exec", n.name} }

// run runs a program in the namespace to its end.
func (n *namespace) run(ctx context.Context, environment []string, program string, args ...string) {
	GinkgoHelper()
	run(ctx, environment, "ip", append([]string{"netns", "exec", n.name, pathOf(program)}, args...)...)
}

// do calls f on a thread in the namespace. Sockets that f opens stay in the namespace.
func (n *namespace) do(f func()) {
	GinkgoHelper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		file, err := os.Open("/var/run/netns/" + n.name)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			file.Close()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	Expect(<-done).NotTo(HaveOccurred())
}

// listen listens in the namespace, or on the host if that is nil.
func (n *namespace) listen(address string) net.Listener {
	GinkgoHelper()
	var listener net.Listener
	var err error
	listen := func() { listener, err = net.Listen("tcp", address) }
	if n == nil {
		listen()
	} else {
		n.do(listen)
	}
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { listener.Close() })
	return listener
}

func (n *namespace) listenPackets(address string) net.PacketConn {
	GinkgoHelper()
	var packets net.PacketConn
	var err error
	listen := func() { packets, err = net.ListenPacket("udp", address) }
	if n == nil {
		listen()
	} else {
		n.do(listen)
	}
	Expect(err).NotTo(HaveOccurred())
	return packets
}
