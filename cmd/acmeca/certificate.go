package main

import (
	"context"
	"crypto/x509"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// certificatePeriod is the time between two attempts to load a certificate that does not exist yet.
const certificatePeriod = 200 * time.Millisecond

// waitForCertificate waits until dir has tls.crt and tls.key: the controllers create them, and the kubelet mounts them. It returns nil
// if ctx ends first.
func waitForCertificate(ctx context.Context, dir string) *certwatcher.CertWatcher {
	certificate, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	waiting := false
	for {
		watcher, err := certwatcher.New(certificate, key)
		if err == nil {
			return watcher
		}
		if !waiting {
			logf.FromContext(ctx).Info("waiting for the TLS certificate", "directory", dir, "reason", err.Error())
			waiting = true
		}
		select {
		case <-time.After(certificatePeriod):
		case <-ctx.Done():
			return nil
		}
	}
}

// followCertificate reloads the certificate when its files change, until ctx ends.
func followCertificate(ctx context.Context, watcher *certwatcher.CertWatcher) {
	if err := watcher.Start(ctx); err != nil {
		logf.FromContext(ctx).Error(err, "stopped watching the TLS certificate")
	}
}

// expiryOf returns the notAfter of the watched certificate in Unix seconds, or 0 if there is none.
func expiryOf(watcher *certwatcher.CertWatcher) float64 {
	if watcher == nil {
		return 0
	}
	pair, err := watcher.GetCertificate(nil)
	if err != nil || len(pair.Certificate) == 0 {
		return 0
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return 0
	}
	return float64(certificate.NotAfter.Unix())
}
