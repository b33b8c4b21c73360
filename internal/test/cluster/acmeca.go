package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The images of acmeca and of its client in the cluster.
const (
	Repository  = "node.test/acmeca"
	Tag         = "dev"
	ClientImage = "node.test/acmeca-client:dev"
)

// Namespace is where acmeca is installed.
const Namespace = "acmeca-system"

// BuildImages builds acmeca's image and the client's, and loads them into all nodes.
func (c *Cluster) BuildImages(ctx context.Context) error {
	archive := c.file("images/acmeca.tar")
	cmd := exec.CommandContext(ctx, filepath.Join(c.root, "hack", "image.sh"), Repository+":"+Tag, "-o", archive)
	if _, err := output(cmd); err != nil {
		return err
	}
	client, err := c.MakeImage(ctx, ClientImage, "65532:65532", "acmeca-client", "acmeca-client")
	if err != nil {
		return err
	}
	return errors.Join(c.Load(ctx, archive), c.Load(ctx, client))
}

// InstallArgs are the arguments of `helm install` and `helm upgrade` of the README, with the image of BuildImages.
func InstallArgs(more ...string) []string {
	return append([]string{
		"acmeca", "charts/acmeca", "--namespace", Namespace, "--set", "image.repository=" + Repository, "--set", "image.tag=" + Tag,
	}, more...)
}

// Install installs acmeca by Helm.
func (c *Cluster) Install(ctx context.Context) error {
	_, err := c.Helm(ctx, append([]string{"install"}, InstallArgs("--create-namespace")...)...)
	return err
}

// CreateIssuer applies the sample issuer and waits until it is Ready.
func (c *Cluster) CreateIssuer(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, "apply", "-f", filepath.Join(c.root, "config/samples/acmeissuer.yaml")); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "--namespace", Namespace, "acmeissuer/default", "--timeout=3m")
	return err
}

// PrepareClient makes the namespace of clients, with the roots of the default issuer and the Service for challenges.
func (c *Cluster) PrepareClient(ctx context.Context) error {
	manifest, err := c.render("client.yaml", nil)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, manifest); err != nil {
		return err
	}
	return c.PublishRoots(ctx, Namespace)
}

// PublishRoots copies the roots of an installation's default issuer to the clients.
func (c *Cluster) PublishRoots(ctx context.Context, namespace string) error {
	roots, err := c.Kubectl(ctx, "get", "--namespace", namespace, "acmeissuer/default", "--output=jsonpath={.status.caBundle}")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(roots, "-----BEGIN") {
		return fmt.Errorf("the issuer has no CA bundle: %q", roots)
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]string{"name": "roots", "namespace": "client"},
		"data":     map[string]string{"ca.crt": roots},
	})
	if err != nil {
		return err
	}
	return c.Apply(ctx, manifest)
}

// StartClient starts a Pod of acmeca-client in the namespace client.
func (c *Cluster) StartClient(ctx context.Context, name string, args ...string) error {
	pod := map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "namespace": "client", "labels": map[string]string{"app": "client"}},
		"spec": map[string]any{
			"restartPolicy":                 "Never",
			"terminationGracePeriodSeconds": 1,
			"nodeSelector":                  map[string]string{"kubernetes.io/hostname": "node1"}, // which no spec drains
			"containers": []any{map[string]any{
				"name": "client", "image": ClientImage, "imagePullPolicy": "Never", "args": args,
				"volumeMounts": []any{map[string]string{"name": "roots", "mountPath": "/roots"}},
			}},
			"volumes": []any{map[string]any{"name": "roots", "configMap": map[string]string{"name": "roots"}}},
		},
	}
	manifest, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	return c.Apply(ctx, manifest)
}

// FirstCertificate obtains a certificate from a Pod, with more arguments of the client, and returns the output of the
// client.
func (c *Cluster) FirstCertificate(ctx context.Context, args ...string) (string, error) {
	if _, err := c.Kubectl(ctx, "delete", "pod", "--namespace=client", "first", "--ignore-not-found"); err != nil {
		return "", err
	}
	if err := c.StartClient(ctx, "first", append([]string{"load", "-n=1"}, args...)...); err != nil {
		return "", err
	}
	_, err := c.Kubectl(ctx, "wait", "--for=jsonpath={.status.phase}=Succeeded", "--namespace=client", "pod/first",
		"--timeout="+startTimeout.String())
	logs, logsErr := c.Kubectl(ctx, "logs", "--namespace=client", "first")
	if err != nil {
		return "", errors.Join(err, logsErr, errors.New(logs))
	}
	return logs, logsErr
}

// A ClientStats is the answer of a client's /stats.
type ClientStats struct {
	Issued, Failed   int
	Failures         []string
	Median, P95, Max int64 // milliseconds
	Serials          []string
}

// ClientStats returns the results of a client's Pod.
func (c *Cluster) ClientStats(ctx context.Context, pod string) (ClientStats, error) {
	var stats ClientStats
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	text, err := c.Kubectl(ctx, "get", "--raw", "/api/v1/namespaces/client/pods/"+pod+":8080/proxy/stats")
	if err != nil {
		return stats, err
	}
	return stats, json.Unmarshal([]byte(text), &stats)
}
