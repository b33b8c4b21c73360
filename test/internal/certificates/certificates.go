// Package certificates generates keys, and parses and verifies certificates and CRLs, for suites.
package certificates

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// NewKey generates a P-256 key. It panics on an error, so that it also works outside of specs.
func NewKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// Parse parses a PEM text of at least one certificate and nothing else in PEM.
func Parse(text []byte) []*x509.Certificate {
	GinkgoHelper()
	var ders [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		Expect(block.Type).To(Equal("CERTIFICATE"))
		ders = append(ders, block.Bytes)
	}
	return ParseDER(ders...)
}

// ParseDER parses at least one certificate in DER.
func ParseDER(ders ...[]byte) []*x509.Certificate {
	GinkgoHelper()
	var chain []*x509.Certificate
	for _, der := range ders {
		certificate, err := x509.ParseCertificate(der)
		Expect(err).NotTo(HaveOccurred())
		chain = append(chain, certificate)
	}
	Expect(chain).NotTo(BeEmpty())
	return chain
}

// Read parses the certificates in a PEM file.
func Read(file string) []*x509.Certificate {
	GinkgoHelper()
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	return Parse(text)
}

// Pool returns the certificates in a PEM text as roots.
func Pool(text []byte) *x509.CertPool {
	GinkgoHelper()
	pool := x509.NewCertPool()
	Expect(pool.AppendCertsFromPEM(text)).To(BeTrue())
	return pool
}

// ReadPool returns the certificates in a PEM file as roots.
func ReadPool(file string) *x509.CertPool {
	GinkgoHelper()
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	return Pool(text)
}

// HTTPClient returns a client that trusts only these roots.
func HTTPClient(roots *x509.CertPool) *http.Client {
	return &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}

// Verify verifies a chain as a TLS client does. The leaf must have exactly these names and addresses.
func Verify(chain []*x509.Certificate, roots *x509.CertPool, names ...string) {
	GinkgoHelper()
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	leaf := chain[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
	Expect(err).NotTo(HaveOccurred())
	has := leaf.DNSNames
	for _, address := range leaf.IPAddresses {
		has = append(has, address.String())
	}
	Expect(has).To(ConsistOf(names))
	for _, name := range names {
		Expect(leaf.VerifyHostname(name)).To(Succeed())
	}
}

// CRL fetches the CRL of a certificate.
func CRL(ctx context.Context, certificate *x509.Certificate) *x509.RevocationList {
	GinkgoHelper()
	Expect(certificate.CRLDistributionPoints).To(HaveLen(1))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, certificate.CRLDistributionPoints[0], http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	der, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	list, err := x509.ParseRevocationList(der)
	Expect(err).NotTo(HaveOccurred(), "%s: %s", response.Status, der)
	return list
}

// Listed returns the serial numbers in the CRL of a certificate.
func Listed(ctx context.Context, certificate *x509.Certificate) []*big.Int {
	GinkgoHelper()
	var serials []*big.Int
	for _, entry := range CRL(ctx, certificate).RevokedCertificateEntries {
		serials = append(serials, entry.SerialNumber)
	}
	return serials
}
