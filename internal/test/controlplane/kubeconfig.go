package controlplane

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenLifetime exceeds the lifetime of a control plane, so no token needs renewal.
const tokenLifetime = 365 * 24 * time.Hour

// WriteKubeconfig writes a kubeconfig with every right to a file, for kubectl.
func (p *Plane) WriteKubeconfig(path string) error { return writeKubeconfig(path, p.Config()) }

// ServiceAccountConfig returns a client configuration of a ServiceAccount, as a Pod has. The ServiceAccount must
// exist.
func (p *Plane) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(p.Config())
	if err != nil {
		return nil, err
	}
	seconds := int64(tokenLifetime / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("a token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	config := p.Config()
	config.CertData, config.KeyData = nil, nil
	config.BearerToken = answer.Status.Token
	return config, nil
}

// WriteServiceAccountKubeconfig writes a kubeconfig of a ServiceAccount to a file.
func (p *Plane) WriteServiceAccountKubeconfig(ctx context.Context, namespace, name, path string) error {
	config, err := p.ServiceAccountConfig(ctx, namespace, name)
	if err != nil {
		return err
	}
	return writeKubeconfig(path, config)
}

func writeKubeconfig(path string, config *rest.Config) error {
	const name = "acmeca-local"
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			name: {Server: config.Host, CertificateAuthorityData: config.CAData},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			name: {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken},
		},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
	if err != nil {
		return err
	}
	return writeFile(path, text)
}
