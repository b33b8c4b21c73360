package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"sync/atomic"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/pki"
)

// certificatePeriod is the time between two attempts to load a certificate that does not exist yet.
const certificatePeriod = 200 * time.Millisecond

// serverCertificate is the ACME server's TLS certificate: the mounted one, or a newer one for the mounted key from the status of the
// default issuer. A kubelet takes more than a minute to mount a changed Secret.
type serverCertificate struct {
	// mounted is nil until the Secret is mounted.
	mounted atomic.Pointer[certwatcher.CertWatcher]
	// published is a certificate without its key; nil if there is none.
	published atomic.Pointer[tls.Certificate]
}

// wait waits until dir has tls.crt and tls.key: the controllers create them, and the kubelet mounts them. Then it follows their changes
// until ctx ends. It returns false if ctx ends first.
func (c *serverCertificate) wait(ctx context.Context, dir string) bool {
	certificate, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for waiting := false; ; waiting = true {
		watcher, err := certwatcher.New(certificate, key)
		if err == nil {
			c.mounted.Store(watcher)
			go followFiles(ctx, watcher)
			return true
		}
		if !waiting {
			logf.FromContext(ctx).Info("waiting for the TLS certificate", "directory", dir, "reason", err.Error())
		}
		select {
		case <-time.After(certificatePeriod):
		case <-ctx.Done():
			return false
		}
	}
}

func followFiles(ctx context.Context, watcher *certwatcher.CertWatcher) {
	if err := watcher.Start(ctx); err != nil {
		logf.FromContext(ctx).Error(err, "stopped watching the TLS certificate")
	}
}

// follow uses the certificate in the status of an issuer, and its changes.
func (c *serverCertificate) follow(ctx context.Context, issuers cache.Informers, key client.ObjectKey) error {
	informer, err := issuers.GetInformer(ctx, &v1alpha1.AcmeIssuer{})
	if err != nil {
		return err
	}
	use := func(object any) {
		if issuer, ok := object.(*v1alpha1.AcmeIssuer); ok && client.ObjectKeyFromObject(issuer) == key {
			c.publish([]byte(issuer.Status.ServerCertificate))
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: use, UpdateFunc: func(_, now any) { use(now) }})
	return err
}

// publish sets the published certificate. A chain that can't be parsed is ignored.
func (c *serverCertificate) publish(chain []byte) {
	published := &tls.Certificate{}
	for {
		var block *pem.Block
		if block, chain = pem.Decode(chain); block == nil {
			break
		}
		published.Certificate = append(published.Certificate, block.Bytes)
	}
	if len(published.Certificate) == 0 {
		return
	}
	var err error
	if published.Leaf, err = x509.ParseCertificate(published.Certificate[0]); err == nil {
		c.published.Store(published)
	}
}

// GetCertificate implements the function of the same name in tls.Config.
func (c *serverCertificate) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	mounted, err := c.mounted.Load().GetCertificate(hello)
	published := c.published.Load()
	if err != nil || published == nil || !pki.EqualKeys(mounted.Leaf.PublicKey, published.Leaf.PublicKey) {
		return mounted, err
	}
	return &tls.Certificate{Certificate: published.Certificate, Leaf: published.Leaf, PrivateKey: mounted.PrivateKey}, nil
}

// expiry returns the notAfter of the certificate in Unix seconds, or 0 if there is none.
func (c *serverCertificate) expiry() float64 {
	if c.mounted.Load() == nil {
		return 0
	}
	certificate, err := c.GetCertificate(nil)
	if err != nil {
		return 0
	}
	return float64(certificate.Leaf.NotAfter.Unix())
}
