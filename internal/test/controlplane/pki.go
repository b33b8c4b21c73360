package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
	backdate     = time.Hour // tolerates a clock set back between runs
)

// keys holds a control plane's keys and certificates. etcd has its own CA, so certificates of the cluster's CA give
// access to the API server only.
type keys struct {
	cluster, etcd          *keyPair // the CAs, kept across restarts
	serviceAccounts        string   // the file of the key that signs ServiceAccount tokens, kept too
	apiserver, admin       *keyPair
	etcdServer, etcdClient *keyPair
}

// A keyPair is a key with its certificate, in memory and in files.
type keyPair struct {
	certPEM, keyPEM   []byte
	certFile, keyFile string
	cert              *x509.Certificate
	key               *ecdsa.PrivateKey
}

// makeKeys loads the persistent keys from dir, creates missing ones, and always creates new leaf certificates.
func makeKeys(dir string, now time.Time) (*keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	k := &keys{serviceAccounts: filepath.Join(dir, "service-accounts.key")}
	if _, err := keepKey(k.serviceAccounts); err != nil {
		return nil, err
	}
	var err error
	if k.cluster, err = keepCA(dir, "cluster-ca", now); err != nil {
		return nil, err
	}
	if k.etcd, err = keepCA(dir, "etcd-ca", now); err != nil {
		return nil, err
	}
	server, client := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	for _, leaf := range []struct {
		pair    **keyPair
		ca      *keyPair
		name    string
		subject pkix.Name
		usages  []x509.ExtKeyUsage
	}{
		{&k.apiserver, k.cluster, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, []x509.ExtKeyUsage{server}},
		{&k.admin, k.cluster, "admin", pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
			[]x509.ExtKeyUsage{client}},
		// etcd's gRPC gateway dials etcd itself, with its server certificate.
		{&k.etcdServer, k.etcd, "etcd-server", pkix.Name{CommonName: "etcd"}, []x509.ExtKeyUsage{server, client}},
		{&k.etcdClient, k.etcd, "etcd-client", pkix.Name{CommonName: "kube-apiserver"}, []x509.ExtKeyUsage{client}},
	} {
		if *leaf.pair, err = makeLeaf(dir, leaf.name, leaf.ca, leaf.subject, leaf.usages, now); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// keepCA loads a CA. If the CA is missing, corrupt or close to expiry, keepCA creates a new one.
func keepCA(dir, name string, now time.Time) (*keyPair, error) {
	p := &keyPair{certFile: filepath.Join(dir, name+".crt"), keyFile: filepath.Join(dir, name+".key")}
	if p.load() == nil && now.Add(leafLifetime).Before(p.cert.NotAfter) {
		return p, nil
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "acmeca local " + name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return p, p.create(template, nil)
}

func makeLeaf(dir, name string, ca *keyPair, subject pkix.Name, usages []x509.ExtKeyUsage, now time.Time) (*keyPair, error) {
	p := &keyPair{certFile: filepath.Join(dir, name+".crt"), keyFile: filepath.Join(dir, name+".key")}
	template := &x509.Certificate{
		Subject:     subject,
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(leafLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: usages,
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
	}
	return p, p.create(template, ca)
}

// create creates a key and writes it with a certificate signed by the CA. If ca is nil, the certificate is
// self-signed.
func (p *keyPair) create(template *x509.Certificate, ca *keyPair) error {
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return err
	}
	parent, signer := template, p.key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, p.key.Public(), signer)
	if err != nil {
		return err
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if p.keyPEM, err = encodeKey(p.key); err != nil {
		return err
	}
	p.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return errors.Join(writeFile(p.keyFile, p.keyPEM), writeFile(p.certFile, p.certPEM))
}

func (p *keyPair) load() error {
	var err error
	if p.certPEM, err = os.ReadFile(p.certFile); err != nil {
		return err
	}
	if p.keyPEM, err = os.ReadFile(p.keyFile); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(p.certPEM, p.keyPEM) // checks that key and certificate match
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s: not an ECDSA key", p.keyFile)
	}
	p.key, p.cert = key, pair.Leaf
	return nil
}

// keepKey loads a private key. If the key is missing or corrupt, keepKey creates a new one.
func keepKey(file string) (*ecdsa.PrivateKey, error) {
	if text, err := os.ReadFile(file); err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
				return key, nil
			}
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(file, text)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// writeFile replaces a file atomically, so a killed run leaves either the old or the new one.
func writeFile(path string, text []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// httpClient returns a client that authenticates with this pair and trusts ca.
func (p *keyPair) httpClient(ca *keyPair) (*http.Client, error) {
	pair, err := tls.X509KeyPair(p.certPEM, p.keyPEM)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}},
	}, nil
}
