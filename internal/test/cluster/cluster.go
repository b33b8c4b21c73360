package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/project"
)

// apiPort is the port of the API server on the first node.
const apiPort = 6443

// startTimeout limits each wait of a start, on a busy machine.
const startTimeout = 3 * time.Minute

// Options describe a cluster.
type Options struct {
	// Dir holds the state: keys, etcd, images, logs. A cluster that is in Dir already is removed first.
	Dir string
	// Nodes is the number of nodes. The first one also runs the control plane.
	Nodes int
	// Progress receives a line for each phase.
	Progress io.Writer
}

// Cluster is a running cluster. It outlives the program that started it, until Remove.
type Cluster struct {
	// Nodes are the machines of the cluster.
	Nodes []*Node

	name        string // of its cgroups
	root        string // the source tree
	dir         string
	address     string // of the API server on loopback
	nodesWanted int
	keys        *pki
	images      []string // archives, which each node loads
	lan         int      // PID of the process that holds the network between nodes
	progress    io.Writer
	started     time.Time
}

// Start starts a cluster. The programs must exist: binaries.Ensure builds them.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	c, err := newCluster(options)
	if err != nil {
		return nil, err
	}
	if err := Remove(c.dir); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.whyNot(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func newCluster(options Options) (*Cluster, error) {
	root, err := project.Root()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		name: CgroupName(dir), root: root, dir: dir, nodesWanted: options.Nodes, progress: options.Progress, started: time.Now(),
	}, nil
}

// CgroupName returns the name of the cgroups of the cluster in a directory.
func CgroupName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "acmeca-cluster-" + hex.EncodeToString(sum[:4])
}

// Remove ends all processes of the cluster in a directory, and removes its cgroups and state. Namespaces, with their
// mounts and networks, end with their processes. Remove succeeds if there is no cluster.
func Remove(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := removeCgroups(CgroupName(dir)); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func (c *Cluster) start(ctx context.Context) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	var port int
	if err := freeport.Choose(&port); err != nil {
		return err
	}
	c.address = net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"keys and certificates", func(context.Context) error { return c.makeCertificates() }},
		{"images of the cluster", c.makeImages},
		{"networks and namespaces", c.createNodes},
		{"control plane", c.startControlPlane},
		{"nodes", c.startNodes},
		{"DNS", c.startDNS},
	} {
		if err := c.Phase(ctx, phase.name, phase.do); err != nil {
			return err
		}
	}
	return nil
}

// Phase runs a part of a start and reports how long the part took.
func (c *Cluster) Phase(ctx context.Context, name string, do func(context.Context) error) error {
	start := time.Now()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(c.progress, "%6.1fs  %-40s %5.1fs\n", time.Since(c.started).Seconds(), name, time.Since(start).Seconds())
	return nil
}

func (c *Cluster) makeImages(ctx context.Context) error {
	for _, image := range [][3]string{{"acmeca-node", "pause", pauseImage}, {"coredns", "coredns", dnsImage}} {
		archive, err := c.MakeImage(ctx, image[2], "0:0", image[0], image[1])
		if err != nil {
			return err
		}
		c.images = append(c.images, archive)
	}
	return nil
}

// MakeImage makes an image of a program in bin/, under another name in the image, and returns its archive. The
// program's first arguments are args.
func (c *Cluster) MakeImage(ctx context.Context, image, user, program, name string, args ...string) (archive string, err error) {
	archive = c.file("images/" + strings.Join(append([]string{name}, args...), "-") + ".tar")
	options := []string{"-name", image, "-user", user, "-o", archive}
	for _, arg := range args {
		options = append(options, "-arg", arg)
	}
	_, err = output(exec.CommandContext(ctx, c.program("image"), append(options, c.program(program)+"=/"+name)...))
	return archive, err
}

// Load loads an image into all nodes.
func (c *Cluster) Load(ctx context.Context, archive string) error {
	return c.eachNode(func(n *Node) error { return n.load(ctx, archive) })
}

func nodeName(number int) string { return fmt.Sprintf("node%d", number) }

func (c *Cluster) createNodes(ctx context.Context) error {
	if err := c.createLAN(ctx); err != nil {
		return err
	}
	for number := 1; number <= c.nodesWanted; number++ {
		n := &Node{Name: nodeName(number), IP: nodeIP(number), number: number, cluster: c}
		n.dir = c.file(n.Name)
		if err := os.MkdirAll(n.dir, 0o700); err != nil {
			return err
		}
		if err := n.boot(ctx); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
	}
	return nil
}

func (c *Cluster) startNodes(ctx context.Context) error {
	return c.eachNode(func(n *Node) error { return n.startNode(ctx) })
}

// eachNode calls do for all nodes at the same time.
func (c *Cluster) eachNode(do func(*Node) error) error {
	errs := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() { errs[i] = do(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) startDNS(ctx context.Context) error {
	manifest, err := c.render("coredns.yaml", nil)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, manifest); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "rollout", "status", "--namespace=kube-system", "deployment/coredns", "--timeout="+startTimeout.String())
	return err
}

// await retries until do succeeds.
func (c *Cluster) await(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// whyNot reports programs of nodes that have ended.
func (c *Cluster) whyNot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.requireRunning(ctx))
	}
	return errors.Join(errs...)
}

func (c *Cluster) file(name string) string    { return filepath.Join(c.dir, name) }
func (c *Cluster) program(name string) string { return filepath.Join(c.root, "bin", name) }

// innerURL is the URL of the API server for programs of the nodes.
func (c *Cluster) innerURL() string { return fmt.Sprintf("https://%s:%d", nodeIP(1), apiPort) }

// Kubeconfig returns the path of a kubeconfig with every right, for programs of this machine.
func (c *Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// Config returns a client configuration with every right.
func (c *Cluster) Config() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
}

func (c *Cluster) kubectl(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--kubeconfig=" + c.Kubeconfig(), "--cache-dir=" + c.file("kubectl")}, args...)
	return exec.CommandContext(ctx, c.program("kubectl"), args...)
}

// Kubectl runs kubectl and returns its output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return output(c.kubectl(ctx, args...))
}

// Apply applies manifests.
func (c *Cluster) Apply(ctx context.Context, manifests []byte) error {
	cmd := c.kubectl(ctx, "apply", "--server-side", "-f", "-")
	cmd.Stdin = bytes.NewReader(manifests)
	_, err := output(cmd)
	return err
}

// Helm runs helm and returns its output.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.program("helm"), append([]string{"--kubeconfig=" + c.Kubeconfig()}, args...)...)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.file("helm"), "HELM_CONFIG_HOME="+c.file("helm"), "HELM_DATA_HOME="+c.file("helm"),
		// A discovery cache of the user from before the kinds would make the first `kubectl get acme` fail.
		"KUBECACHEDIR="+c.file("kubectl"))
	return output(cmd)
}
