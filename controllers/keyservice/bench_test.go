package keyservice_test

import (
	"crypto"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/keyservice"
	testservice "github.com/acmeca/acmeca/internal/test/keyservice"
)

// BenchmarkIssue lints and signs certificates, by several workers: with a key in memory, with one in files behind the socket, and, if
// ACMECA_BENCH_SOCKET names the socket of another key service, with one there.
func BenchmarkIssue(b *testing.B) {
	inMemory, err := ca.GenerateKey(ca.ECDSAP256)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("memory", func(b *testing.B) { benchmarkIssue(b, inMemory) })
	service, err := testservice.New()
	if err != nil {
		b.Fatal(err)
	}
	defer service.Close()
	b.Run("files", func(b *testing.B) { benchmarkIssue(b, keyAt(b, service.Socket)) })
	if socket := os.Getenv("ACMECA_BENCH_SOCKET"); socket != "" {
		b.Run("other", func(b *testing.B) { benchmarkIssue(b, keyAt(b, socket)) })
	}
}

func keyAt(b *testing.B, socket string) crypto.Signer {
	b.Helper()
	client, err := keyservice.New(keyservice.Config{Socket: socket})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	key, err := client.Generate(b.Context(), "bench.key", pb.KeyType_KEY_TYPE_ECDSA_P256)
	if err != nil {
		b.Fatal(err)
	}
	return key
}

func benchmarkIssue(b *testing.B, key crypto.Signer) {
	now := time.Now()
	root, err := ca.NewRoot(ca.CAConfig{CommonName: "bench", KeyAlgorithm: ca.ECDSAP256, Key: key, Lifetime: 10000 * time.Hour}, now)
	if err != nil {
		b.Fatal(err)
	}
	authority, err := ca.LoadAuthority(ca.Material{Chain: root.CertificatePEM(), Signer: key, SerialKey: make([]byte, ca.MinSerialKey)}, now)
	if err != nil {
		b.Fatal(err)
	}
	profile, err := ca.NewProfile(ca.ProfileConfig{Name: "default", Lifetime: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	subscriber, err := ca.GenerateKey(ca.ECDSAP256)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{DNSNames: []string{"bench.test"}}, subscriber)
	if err != nil {
		b.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		b.Fatal(err)
	}
	request := ca.Request{ID: "bench", Identifiers: []acme.Identifier{{Type: acme.DNS, Value: "bench.test"}}, CSR: csr, FinalizedAt: now}
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := authority.Issue(profile, request); err != nil {
				b.Fatal(err)
			}
		}
	})
}
