package serversecrets

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/pki"
)

// temporaryCheck is how often the Secret is read; it isn't watched.
const temporaryCheck = time.Minute

// TemporaryCertificate keeps a self-signed certificate in the Secret of a TLSCertificate, until the default issuer's CA signs one for
// the same key. So the ACME server can start, and say what is missing, before there is an issuer.
type TemporaryCertificate struct {
	*TLSCertificate
	// ExternalURLs are the ACME server's URLs.
	ExternalURLs []string
	Clock        clock.WithTicker
}

// SetupWithManager adds to a manager the periodic check of the Secret.
func (t *TemporaryCertificate) SetupWithManager(mgr manager.Manager) error {
	return mgr.Add(kube.Periodic(t.Clock, temporaryCheck, fmt.Sprintf("can't keep the Secret %s of the ACME server's TLS certificate", t.Secret), t.Ensure))
}

// Ensure creates the Secret, and renews a self-signed certificate that is due.
func (t *TemporaryCertificate) Ensure(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := t.Client.Get(ctx, t.Secret, secret)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && !t.renewable(secret) {
		return nil
	}
	key, err := ca.GenerateKey(ca.ECDSAP256)
	if err != nil {
		return err
	}
	certificate, err := t.selfSign(key)
	if err != nil {
		return err
	}
	err = t.store(ctx, secret, ca.EncodeCertificates(certificate), key)
	if apierrors.IsConflict(err) {
		return nil // the default issuer's CA was first
	}
	return err
}

// renewable reports whether a Secret has a self-signed certificate that is due.
func (t *TemporaryCertificate) renewable(secret *corev1.Secret) bool {
	certificates, err := ca.ParseCertificates(secret.Data[corev1.TLSCertKey])
	return err == nil && bytes.Equal(certificates[0].RawIssuer, certificates[0].RawSubject) && t.due(certificates[0])
}

func (t *TemporaryCertificate) selfSign(key crypto.Signer) (*x509.Certificate, error) {
	now := pki.WholeSecond(t.Clock.Now())
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "acmeca without an issuer"},
		NotBefore:    now.Add(-pki.DefaultBackdate(TLSCertificateLifetime)),
		NotAfter:     now.Add(TLSCertificateLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range t.hosts() {
		if id, problem := identifierOf(host).Normalize(); problem != nil {
			continue
		} else if id.Type == acme.IP {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (t *TemporaryCertificate) hosts() []string {
	hosts := t.Names
	for _, text := range t.ExternalURLs {
		if u, err := url.Parse(text); err == nil {
			hosts = append(hosts[:len(hosts):len(hosts)], u.Hostname())
		}
	}
	return hosts
}
