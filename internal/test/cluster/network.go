package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// Addresses of the cluster. They exist only in its network namespaces.
const (
	nodeNetwork    = "10.111.0"
	podNetwork     = "10.244"
	serviceNetwork = "10.96.0.0/16"
	apiService     = "10.96.0.1"
	dnsService     = "10.96.0.10"
	// Outside is the address of a machine beside the nodes, for probes.
	Outside = nodeNetwork + ".9"
)

func nodeIP(number int) string    { return fmt.Sprintf("%s.%d", nodeNetwork, 10+number) }
func podSubnet(number int) string { return fmt.Sprintf("%s.%d.0/24", podNetwork, number) }

// createLAN makes the network between the nodes: a bridge in a network namespace of its own. In a node's namespace,
// packets between other nodes would pass that node's conntrack a second time, and connections would be lost. The
// bridge has an address, from which probes reach Services and Pods as machines outside of the cluster do.
func (c *Cluster) createLAN(ctx context.Context) error {
	var err error
	c.lan, err = c.createNamespaces(ctx, nodeapi.Spec{Hostname: "lan", NetworkOnly: true, Log: filepath.Join(c.dir, "lan.log")})
	if err != nil {
		return err
	}
	commands := [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "lan0", "type", "bridge"},
		{"ip", "addr", "add", Outside + "/24", "dev", "lan0"},
		{"ip", "link", "set", "lan0", "up"},
		{"ip", "route", "add", serviceNetwork, "via", nodeIP(1)},
	}
	for number := range c.nodesWanted {
		commands = append(commands, []string{"ip", "route", "add", podSubnet(number + 1), "via", nodeIP(number + 1)})
	}
	return c.runInLAN(ctx, commands)
}

// OutsideCommand returns a command on a machine beside the nodes.
func (c *Cluster) OutsideCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(c.lan), "-n", "--"}, args...)...)
	cmd.Env = []string{"PATH=" + filepath.Join(c.root, "bin") + ":" + systemPath}
	return cmd
}

func (c *Cluster) runInLAN(ctx context.Context, commands [][]string) error {
	for _, command := range commands {
		if _, err := output(c.OutsideCommand(ctx, command...)); err != nil {
			return err
		}
	}
	return nil
}

// connect joins a node to the network.
func (c *Cluster) connect(ctx context.Context, n *Node) error {
	port := "lan" + strconv.Itoa(n.number)
	err := c.runInLAN(ctx, [][]string{
		{"ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(n.pid)},
		{"ip", "link", "set", port, "master", "lan0"},
		{"ip", "link", "set", port, "up"},
	})
	if err != nil {
		return err
	}
	commands := [][]string{
		{"ip", "addr", "add", n.IP + "/24", "dev", "eth0"},
		{"ip", "link", "set", "eth0", "up"},
		{"ip", "route", "add", "default", "via", Outside},
		{"/bin/sh", "-ec", "cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 0 >ipv4/conf/all/rp_filter; echo 1 >bridge/bridge-nf-call-iptables"},
	}
	for other := 1; other <= c.nodesWanted; other++ {
		if other != n.number {
			commands = append(commands, []string{"ip", "route", "add", podSubnet(other), "via", nodeIP(other)})
		}
	}
	for _, command := range commands {
		if _, err := n.Run(ctx, command...); err != nil {
			return err
		}
	}
	return nil
}
