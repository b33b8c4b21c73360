package cluster

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func newTestCluster(t *testing.T) (*Cluster, *Node) {
	t.Helper()
	c, err := newCluster(Options{Dir: t.TempDir(), Nodes: 2, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	c.address = "127.0.0.1:1"
	if err := c.makeCertificates(); err != nil {
		t.Fatal(err)
	}
	return c, &Node{Name: nodeName(2), IP: nodeIP(2), number: 2, cluster: c, dir: t.TempDir()}
}

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestFilesOfANodeAreComplete(t *testing.T) {
	_, n := newTestCluster(t)
	if err := n.writeFiles(); err != nil {
		t.Fatal(err)
	}
	var network struct {
		Plugins []struct {
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	text, err := os.ReadFile(n.dir + "/cni/10-pods.conflist")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &network); err != nil {
		t.Fatal(err)
	}
	if got := network.Plugins[0].IPAM.Ranges[0][0].Subnet; got != podSubnet(2) {
		t.Errorf("Pods get addresses in %s, want %s", got, podSubnet(2))
	}
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml"} {
		text, err := os.ReadFile(n.dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := yaml.UnmarshalStrict(text, &object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDNSAnswersForTheClient(t *testing.T) {
	c, _ := newTestCluster(t)
	text, err := c.render("coredns.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := `answer "{{ .Name }} 30 IN A ` + ClientService + `"`; !strings.Contains(string(text), want) {
		t.Errorf("the Corefile lacks %s", want)
	}
}

func TestCertificatesAndKubeconfigsMatch(t *testing.T) {
	c, _ := newTestCluster(t)
	config, err := clientcmd.BuildConfigFromFlags("", c.file("node2.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://10.111.0.11:6443" {
		t.Errorf("the kubelet connects to %s", config.Host)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.keys.cert)
	for name, host := range map[string]string{"kube-apiserver": "127.0.0.1", "node2": "10.111.0.12"} {
		cert := readCertificate(t, c.keys.file(name+".crt"))
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMissingPackagesAreNamed(t *testing.T) {
	has := []string{"ip", "nsenter", "nft", "iptables", "ipset"}
	got := missingPackages(func(program string) error {
		if slices.Contains(has, program) {
			return nil
		}
		return errors.New("missing")
	})
	if want := []string{"runc", "containernetworking-plugins"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
