package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// lifetime is that of all certificates of a cluster. A cluster is not meant to live longer.
const lifetime = 30 * 24 * time.Hour

// A pki is the CA of a cluster, in a directory. One CA signs everything: the cluster is for one user.
type pki struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

// newPKI makes a CA, and a key for the tokens of ServiceAccounts.
func newPKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &pki{dir: dir}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "acmeca cluster"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	var err error
	if p.cert, p.key, err = p.sign("ca", template); err != nil {
		return nil, err
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return p, writeKey(p.file("service-accounts.key"), tokens)
}

// leaf makes a key and a certificate for clients and servers.
func (p *pki) leaf(name string, subject pkix.Name, dnsNames []string, addresses ...string) error {
	template := &x509.Certificate{
		Subject:     subject,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    dnsNames,
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	_, _, err := p.sign(name, template)
	return err
}

// sign writes NAME.key and NAME.crt. The first certificate signs itself.
func (p *pki) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-time.Minute), now.Add(lifetime)
	parent, signer := p.cert, p.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, key, errors.Join(os.WriteFile(p.file(name+".crt"), text, 0o600), writeKey(p.file(name+".key"), key))
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// kubeconfig writes a kubeconfig with the certificate NAME to a file.
func (p *pki) kubeconfig(path, name, server string) error {
	var contents [3][]byte
	for i, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		var err error
		if contents[i], err = os.ReadFile(p.file(file)); err != nil {
			return err
		}
	}
	const context = "acmeca-cluster"
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{context: {Server: server, CertificateAuthorityData: contents[0]}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{context: {ClientCertificateData: contents[1], ClientKeyData: contents[2]}},
		Contexts:       map[string]*clientcmdapi.Context{context: {Cluster: context, AuthInfo: context}},
		CurrentContext: context,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// makeCertificates makes the keys, certificates and kubeconfigs of a cluster.
func (c *Cluster) makeCertificates() error {
	var err error
	if c.keys, err = newPKI(filepath.Join(c.dir, "pki")); err != nil {
		return err
	}
	admins := []string{"system:masters"}
	type user struct {
		name    string
		subject pkix.Name
	}
	users := []user{
		{"admin", pkix.Name{CommonName: "admin", Organization: admins}},
		{"kubelet-client", pkix.Name{CommonName: "kube-apiserver", Organization: admins}},
		{"kube-controller-manager", pkix.Name{CommonName: "system:kube-controller-manager"}},
		{"kube-scheduler", pkix.Name{CommonName: "system:kube-scheduler"}},
		{"kube-proxy", pkix.Name{CommonName: "system:kube-proxy"}},
		{"kube-router", pkix.Name{CommonName: "kube-router", Organization: admins}}, // instead of a role of its own
		{"front-proxy", pkix.Name{CommonName: "front-proxy"}},
	}
	for _, u := range users {
		if err := c.makeUser(u.name, u.subject, nil); err != nil {
			return err
		}
	}
	for number := 1; number <= c.nodesWanted; number++ {
		name := nodeName(number)
		subject := pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}}
		if err := c.makeUser(name, subject, []string{name}, nodeIP(number)); err != nil {
			return err
		}
	}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}
	return errors.Join(
		c.keys.leaf("kube-apiserver", pkix.Name{CommonName: "kube-apiserver"}, names, "127.0.0.1", nodeIP(1), apiService),
		c.keys.kubeconfig(c.Kubeconfig(), "admin", "https://"+c.address))
}

// makeUser makes a certificate, and a kubeconfig with it for use in the nodes.
func (c *Cluster) makeUser(name string, subject pkix.Name, dnsNames []string, addresses ...string) error {
	return errors.Join(c.keys.leaf(name, subject, dnsNames, addresses...), c.keys.kubeconfig(c.file(name+".kubeconfig"), name, c.innerURL()))
}
