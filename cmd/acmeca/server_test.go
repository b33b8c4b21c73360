package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/acmeca/acmeca/controllers/ca"
)

// tlsFiles is what the ACME server's Secret is mounted as.
func tlsFiles(t *testing.T) map[string][]byte {
	t.Helper()
	pair, err := ca.NewRoot(ca.CAConfig{CommonName: "test", KeyAlgorithm: ca.ECDSAP256, Lifetime: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"tls.crt": pair.CertificatePEM(), "tls.key": key}
}

// The ACME server starts before the controllers have made its certificate.
func TestTheEndpointWaitsForItsCertificate(t *testing.T) {
	dir := t.TempDir()
	found := make(chan bool)
	go func() { found <- waitForCertificate(t.Context(), dir) != nil }()
	for name, content := range tlsFiles(t) {
		select {
		case <-found:
			t.Fatal("it didn't wait")
		default:
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !<-found {
		t.Error("it found no certificate")
	}
}

func TestTheEndpointDoesntWaitForEver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if waitForCertificate(ctx, t.TempDir()) != nil {
		t.Error("it found a certificate")
	}
}

func TestTheEndpointIsReadyOnceItListens(t *testing.T) {
	l := &listeners{}
	if l.ready(nil) == nil {
		t.Error("it is ready before")
	}
	l.up.Store(true)
	if err := l.ready(nil); err != nil {
		t.Error(err)
	}
	if l.NeedLeaderElection() {
		t.Error("only one replica serves")
	}
}
