package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// Node is a machine of the cluster: a set of namespaces.
type Node struct {
	// Name is the name of the Node object.
	Name string
	// IP is the node's address.
	IP string

	number  int
	cluster *Cluster
	dir     string
	pid     int // of process 1
}

// createNamespaces starts a process in new namespaces and returns its PID.
func (c *Cluster) createNamespaces(ctx context.Context, spec nodeapi.Spec) (int, error) {
	var err error
	if spec.Cgroups, spec.Procs, err = makeCgroups(c.name, spec.Hostname); err != nil {
		return 0, err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, c.program("acmeca-node"), "create", string(text))
	cmd.Env = []string{"PATH=" + filepath.Join(c.root, "bin") + ":" + systemPath, "HOME=/root"}
	var said bytes.Buffer
	cmd.Stderr = &said
	output, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("making %s: %w: %s", spec.Hostname, err, &said)
	}
	return strconv.Atoi(strings.TrimSpace(string(output)))
}

// Command returns a command in the node's namespaces.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"-t", strconv.Itoa(n.pid), "-m", "-n", "-p", "-u", "-i", "-C", "--"}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = []string{"PATH=" + filepath.Join(n.cluster.root, "bin") + ":" + systemPath, "HOME=/root"}
	cmd.Dir = "/"
	return cmd
}

// Run runs a command in the node and returns its output.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	return output(n.Command(ctx, args...))
}

func output(cmd *exec.Cmd) (string, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return string(text), fmt.Errorf("%s: %w: %s%s", strings.Join(cmd.Args, " "), err, text, &said)
	}
	return string(text), nil
}

// Start starts a program of the cluster's in the node. Its output goes to a file in the node's directory.
func (n *Node) Start(ctx context.Context, name string, args ...string) error {
	return n.call(ctx, http.MethodPost, "/programs", nodeapi.Program{
		Name: name, Args: append([]string{n.cluster.program(name)}, args...), Log: filepath.Join(n.dir, name+".log"),
	}, nil)
}

// Kill kills a program of the node and waits for its end.
func (n *Node) Kill(ctx context.Context, name string) error {
	return n.call(ctx, http.MethodPost, fmt.Sprintf("/programs/%s/signal/%d", name, syscall.SIGKILL), nil, nil)
}

// Programs returns the programs that were started in the node.
func (n *Node) Programs(ctx context.Context) ([]nodeapi.Status, error) {
	var all []nodeapi.Status
	return all, n.call(ctx, http.MethodGet, "/programs", nil, &all)
}

// boot makes the node's namespaces and joins the node to the network.
func (n *Node) boot(ctx context.Context) error {
	spec := nodeapi.Spec{Hostname: n.Name, Resolv: noResolver, Log: filepath.Join(n.dir, "init.log")}
	if n.number == 1 {
		spec.Listen, spec.Forward = n.cluster.address, net.JoinHostPort(n.IP, fmt.Sprint(apiPort))
	}
	var err error
	if n.pid, err = n.cluster.createNamespaces(ctx, spec); err != nil {
		return err
	}
	return n.cluster.connect(ctx, n)
}

// Restart boots a node after Crash, with the files that the node had.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.boot(ctx); err != nil {
		return err
	}
	return n.startNode(ctx)
}

// Crash ends the node at once, as a power failure does.
func (n *Node) Crash() error { return syscall.Kill(n.pid, syscall.SIGKILL) }

// call sends a request to the node's process 1.
func (n *Node) call(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://node"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	socket := filepath.Join("/proc", strconv.Itoa(n.pid), "root", nodeapi.Socket)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s: %s", n.Name, method, path, bytes.TrimSpace(said))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(said, answer)
}

// logTail returns the end of a program's log in the node.
func (n *Node) logTail(name string) string {
	text, err := os.ReadFile(filepath.Join(n.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// requireRunning returns an error with the log of a program that has ended.
func (n *Node) requireRunning(ctx context.Context) error {
	all, err := n.Programs(ctx)
	if err != nil {
		return err
	}
	for _, status := range all {
		if !status.Running {
			return errors.Join(fmt.Errorf("%s of %s ended: %s", status.Name, n.Name, status.Exit), errors.New(n.logTail(status.Name)))
		}
	}
	return nil
}
