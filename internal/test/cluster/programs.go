package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// Programs lists the programs that a cluster needs, for binaries.Ensure.
var Programs = []string{
	"etcd", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet",
	"containerd", "containerd-shim-runc-v2", "ctr", "kube-router", "coredns", "helm", "image", "acmeca-node",
}

// startControlPlane starts etcd and the control plane on the first node.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	n := c.Nodes[0]
	const etcd, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380" // in the node's network namespace
	if err := n.Start(ctx, "etcd", "--name=e", "--data-dir="+c.file("etcd"), "--log-level=warn", "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=e="+peer); err != nil {
		return err
	}
	if err := n.Start(ctx, "kube-apiserver", c.apiserverArgs(etcd)...); err != nil {
		return err
	}
	err := c.await(ctx, "the API server", func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return err
	})
	if err != nil {
		return err
	}
	if err := n.Start(ctx, "kube-controller-manager", append(c.clientArgs("kube-controller-manager"),
		"--use-service-account-credentials", "--root-ca-file="+c.keys.file("ca.crt"),
		"--service-account-private-key-file="+c.keys.file("service-accounts.key"),
		"--cluster-signing-cert-file="+c.keys.file("ca.crt"), "--cluster-signing-key-file="+c.keys.file("ca.key"),
		"--service-cluster-ip-range="+serviceNetwork)...); err != nil {
		return err
	}
	return n.Start(ctx, "kube-scheduler", c.clientArgs("kube-scheduler")...)
}

// clientArgs returns the arguments that kube-controller-manager and kube-scheduler share.
func (c *Cluster) clientArgs(name string) []string {
	kubeconfig := c.file(name + ".kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--leader-elect=false",
	}
}

func (c *Cluster) apiserverArgs(etcd string) []string {
	key := c.keys.file
	return []string{
		"--etcd-servers=" + etcd, "--advertise-address=" + nodeIP(1), fmt.Sprintf("--secure-port=%d", apiPort),
		"--tls-cert-file=" + key("kube-apiserver.crt"), "--tls-private-key-file=" + key("kube-apiserver.key"),
		"--client-ca-file=" + key("ca.crt"), "--kubelet-certificate-authority=" + key("ca.crt"),
		"--kubelet-client-certificate=" + key("kubelet-client.crt"), "--kubelet-client-key=" + key("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + key("service-accounts.key"), "--service-account-signing-key-file=" + key("service-accounts.key"),
		"--service-cluster-ip-range=" + serviceNetwork,
		"--requestheader-client-ca-file=" + key("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + key("front-proxy.crt"), "--proxy-client-key-file=" + key("front-proxy.key"),
		"--enable-aggregator-routing", "--profiling=false",
	}
}

// startNode starts containerd, loads the images, and starts kubelet, kube-proxy and kube-router.
func (n *Node) startNode(ctx context.Context) error {
	if err := n.writeFiles(); err != nil {
		return err
	}
	if err := n.StartContainerd(ctx); err != nil {
		return err
	}
	for _, image := range n.cluster.images {
		if err := n.load(ctx, image); err != nil {
			return err
		}
	}
	if err := n.StartKubelet(ctx); err != nil {
		return err
	}
	if err := n.startKubeProxy(ctx); err != nil {
		return err
	}
	err := n.cluster.await(ctx, n.Name+" to be Ready", func(ctx context.Context) error {
		_, err := n.cluster.Kubectl(ctx, "wait", "--for=condition=Ready", "node/"+n.Name, "--timeout=2s")
		return err
	})
	if err != nil {
		return err
	}
	// The addresses that CNI gives to Pods. kube-router drops packets of others.
	patch := fmt.Sprintf(`{"spec":{"podCIDR":%q,"podCIDRs":[%[1]q]}}`, podSubnet(n.number))
	if _, err := n.cluster.Kubectl(ctx, "patch", "node", n.Name, "--patch="+patch); err != nil {
		return err
	}
	return n.Start(ctx, "kube-router", "--kubeconfig="+n.cluster.file("kube-router.kubeconfig"), "--hostname-override="+n.Name,
		"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
		"--service-cluster-ip-range="+serviceNetwork)
}

// startKubeProxy starts kube-proxy and waits for its first rules. A start of kube-proxy 1.37.2 can end with a panic, since
// NodeConfig's list of handlers has a data race. Then kube-proxy is started again, as a DaemonSet does.
func (n *Node) startKubeProxy(ctx context.Context) error {
	const name = "kube-proxy"
	return n.cluster.await(ctx, name+" of "+n.Name, func(ctx context.Context) error {
		programs, err := n.Programs(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(programs, func(p nodeapi.Status) bool { return p.Name == name && p.Running }) {
			if err := n.Start(ctx, name, "--config="+n.dir+"/kube-proxy.yaml", "--hostname-override="+n.Name); err != nil {
				return err
			}
		}
		rules, err := n.Run(ctx, "nft", "list", "table", "ip", "kube-proxy")
		if err == nil && !strings.Contains(rules, apiService) {
			err = errors.New("no rules for " + apiService)
		}
		return err
	})
}

// StartContainerd starts containerd, also after Kill.
func (n *Node) StartContainerd(ctx context.Context) error {
	if err := n.Start(ctx, "containerd", "--config="+n.dir+"/containerd.toml"); err != nil {
		return err
	}
	return n.cluster.await(ctx, "containerd of "+n.Name, func(ctx context.Context) error {
		_, err := n.ctr(ctx, "version")
		return err
	})
}

// StartKubelet starts the kubelet, also after Kill.
func (n *Node) StartKubelet(ctx context.Context) error {
	return n.Start(ctx, "kubelet", "--config="+n.dir+"/kubelet.yaml", "--kubeconfig="+n.cluster.file(n.Name+".kubeconfig"),
		"--root-dir="+n.dir+"/kubelet", "--hostname-override="+n.Name, "--node-ip="+n.IP)
}

func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	return n.Run(ctx, append([]string{n.cluster.program("ctr"), "-a", "/run/containerd/containerd.sock", "-n", "k8s.io"}, args...)...)
}

// KillContainer ends the process of a container with SIGKILL.
func (n *Node) KillContainer(ctx context.Context, id string) error {
	return n.SignalContainer(ctx, id, "SIGKILL")
}

// SignalContainer sends a signal to the process of a container.
func (n *Node) SignalContainer(ctx context.Context, id, signal string) error {
	_, err := n.ctr(ctx, "task", "kill", "--signal="+signal, id)
	return err
}

// InContainer runs a program of bin/ in the network of a container, and returns its output.
func (n *Node) InContainer(ctx context.Context, id, program string, args ...string) (string, error) {
	pid, err := n.pidOf(ctx, id)
	if err != nil {
		return "", err
	}
	return n.Run(ctx, append([]string{"nsenter", "-t", pid, "-n", "--", n.cluster.program(program)}, args...)...)
}

// ProgramSum returns the SHA-256 hash of the program that a container runs.
func (n *Node) ProgramSum(ctx context.Context, id string) (string, error) {
	pid, err := n.pidOf(ctx, id)
	if err != nil {
		return "", err
	}
	sum, err := n.Run(ctx, "sha256sum", "/proc/"+pid+"/exe")
	return strings.Fields(sum + " -")[0], err
}

// ImageDigest returns the digest of an image that the node has.
func (n *Node) ImageDigest(ctx context.Context, image string) (string, error) {
	list, err := n.ctr(ctx, "images", "list", "name=="+image)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == image {
			return fields[2], nil
		}
	}
	return "", fmt.Errorf("%s has no image %s", n.Name, image)
}

// pidOf returns the process of a container, as the node numbers it.
func (n *Node) pidOf(ctx context.Context, id string) (string, error) {
	tasks, err := n.ctr(ctx, "task", "list")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(tasks) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == id {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s has no container %s", n.Name, id)
}

// load imports an image from an archive.
func (n *Node) load(ctx context.Context, archive string) error {
	_, err := n.ctr(ctx, "images", "import", archive)
	return err
}
