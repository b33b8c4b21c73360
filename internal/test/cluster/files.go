package cluster

import (
	"bytes"
	"embed"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed files
var files embed.FS

// Images of the cluster's own Pods. A name without a host would be looked up at docker.io.
const (
	pauseImage = "node.test/pause:1"
	dnsImage   = "node.test/coredns:1"
)

// ClientService is the address of the Service to which CoreDNS resolves all names below corp.example.
const ClientService = "10.96.50.50"

// values returns the values for the files of a node, or for those of the cluster if n is nil.
func (c *Cluster) values(n *Node) map[string]string {
	values := map[string]string{
		"ClusterDir": c.dir, "PKI": c.keys.dir, "DNS": dnsService, "PodNetwork": podNetwork,
		"PauseImage": pauseImage, "DNSImage": dnsImage, "ClientService": ClientService,
	}
	if n != nil {
		values["Dir"], values["Name"], values["PodSubnet"] = n.dir, n.Name, podSubnet(n.number)
	}
	return values
}

// render fills in a file.
func (c *Cluster) render(name string, n *Node) ([]byte, error) {
	parsed, err := template.New(name).Option("missingkey=error").ParseFS(files, "files/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, c.values(n))
	return out.Bytes(), err
}

// writeFiles writes the configuration of a node's programs.
func (n *Node) writeFiles() error {
	for name, target := range map[string]string{
		"containerd.toml": "containerd.toml",
		"cni.json":        "cni/10-pods.conflist",
		"kubelet.yaml":    "kubelet.yaml",
		"kube-proxy.yaml": "kube-proxy.yaml",
	} {
		text, err := n.cluster.render(name, n)
		if err != nil {
			return err
		}
		path := filepath.Join(n.dir, target)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(n.dir, "resolv.conf"), []byte(noResolver), 0o644)
}

// noResolver is the resolv.conf of a node, and of Pods that use that of their node. Nobody answers there, so look-ups
// fail at once.
const noResolver = "nameserver 127.0.0.1\n"
