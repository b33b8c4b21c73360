package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/acmeca/acmeca/controllers/ca"
)

// tlsFiles returns the files of the ACME server's mounted Secret.
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

// The ACME server may start before the controllers have made its certificate.
func TestTheServerWaitsForItsCertificate(t *testing.T) {
	dir := t.TempDir()
	found := make(chan bool)
	go func() { found <- (&serverCertificate{}).wait(t.Context(), dir) }()
	for name, content := range tlsFiles(t) {
		select {
		case <-found:
			t.Fatal("wait returned before the certificate was complete")
		default:
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !<-found {
		t.Error("no certificate")
	}
}

func TestTheServerStopsWaitingWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (&serverCertificate{}).wait(ctx, t.TempDir()) {
		t.Error("got a certificate")
	}
}

func TestTheServerIsReadyOnceItListens(t *testing.T) {
	l := &listeners{}
	if l.ready(nil) == nil {
		t.Error("ready before it listens")
	}
	l.up.Store(true)
	if err := l.ready(nil); err != nil {
		t.Error(err)
	}
	if l.NeedLeaderElection() {
		t.Error("only the leader serves")
	}
}
