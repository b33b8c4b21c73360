package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"
)

// These are files of a CA: a root, an intermediate, and the certificate of a server.
const (
	rootFile         = "root"
	intermediateFile = "intermediate"
	serverFile       = "server"
	certSuffix       = ".crt"
	keySuffix        = ".key"
)

// writeAuthority writes a root, an intermediate and a server's certificate, and makes clients trust the root.
func (p *Peer) writeAuthority() error {
	lasting := func(number int64, name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour)}
	}
	authority := func(number int64, name string) *x509.Certificate {
		certificate := lasting(number, name)
		certificate.IsCA, certificate.BasicConstraintsValid = true, true
		certificate.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		return certificate
	}
	root, rootKey, err := p.writeCertificate(rootFile, authority(1, "bench root"), nil, nil)
	if err != nil {
		return err
	}
	p.Roots = x509.NewCertPool()
	p.Roots.AddCert(root)
	if _, _, err := p.writeCertificate(intermediateFile, authority(2, "bench intermediate"), root, rootKey); err != nil {
		return err
	}
	server := lasting(3, "127.0.0.1")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.KeyUsage = x509.KeyUsageDigitalSignature
	_, _, err = p.writeCertificate(serverFile, server, root, rootKey)
	return err
}

// writeCertificate creates a certificate with a new key, and writes both. Without a parent, the certificate is self-signed.
func (p *Peer) writeCertificate(file string, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey,
) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	for name, block := range map[string]*pem.Block{
		file + certSuffix: {Type: "CERTIFICATE", Bytes: der}, file + keySuffix: {Type: "PRIVATE KEY", Bytes: encoded},
	} {
		if err := os.WriteFile(p.path(name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, nil, err
		}
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}
