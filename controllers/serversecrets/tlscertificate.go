package serversecrets

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/pki"
)

// TLSCertificateLifetime is the lifetime of the ACME server's TLS certificate. The certificate is renewed when a third of its
// lifetime is left.
const TLSCertificateLifetime = 30 * 24 * time.Hour

// maxOthers bounds the names that the certificate has for other issuers than the default one.
const maxOthers = 100

// TLSCertificate keeps the Secret with the ACME server's TLS certificate. The Secret is mounted as files, since the ACME server
// may not read Secrets.
type TLSCertificate struct {
	// Client reads Secrets past every cache.
	Client client.Client
	Secret client.ObjectKey
	// Names of the ACME server beside the hosts of the issuer's URLs.
	Names []string
	Clock clock.PassiveClock
}

// Ensure issues the certificate if none exists, or if the existing one expires soon, lacks a name, or was issued by another
// CA. others are the hosts of other issuers' URLs, the most important one first. Ensure returns the certificate with its chain.
func (s *TLSCertificate) Ensure(ctx context.Context, issuer *issuers.Issuer, others []string) ([]byte, error) {
	names, problem := s.identifiers(issuer)
	if problem != nil {
		return nil, &UnissuableError{problem}
	}
	names = append(names, admitted(issuer, others, names)...)
	secret := &corev1.Secret{}
	if err := s.Client.Get(ctx, s.Secret, secret); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if s.good(secret, issuer.Authority, names) {
		return secret.Data[corev1.TLSCertKey], nil
	}
	key, err := s.key(secret)
	if err != nil {
		return nil, &UnissuableError{err}
	}
	chain, err := s.issue(issuer, names, key)
	if err != nil {
		return nil, &UnissuableError{err}
	}
	err = s.store(ctx, secret, chain, key)
	if kube.IsRefusal(err) { // it has another type, is immutable, or a quota is used up
		return nil, &UnissuableError{err}
	}
	if err != nil {
		return nil, err
	}
	audit.ServerKeyMade(ctx, issuer.Name, s.Secret.String(), values(names))
	return chain, nil
}

// key returns the key for the next certificate. It is the present one until the certificate is due for renewal: the ACME server has
// that key already, and can present a certificate for it at once.
func (s *TLSCertificate) key(secret *corev1.Secret) (crypto.Signer, error) {
	pair, err := ca.ParseKeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil || s.due(pair.Certificate) {
		return ca.GenerateKey(ca.ECDSAP256)
	}
	return pair.Key, nil
}

// store writes the certificate and the key to the Secret, which is as it was read, or empty if it does not exist.
func (s *TLSCertificate) store(ctx context.Context, secret *corev1.Secret, chain []byte, key crypto.Signer) error {
	text, err := ca.MarshalKeyPEM(key)
	if err != nil {
		return err
	}
	secret.Type = corev1.SecretTypeTLS
	secret.Data = map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: text}
	if secret.ResourceVersion != "" {
		return s.Client.Update(ctx, secret)
	}
	secret.ObjectMeta = ctrl.ObjectMeta{Namespace: s.Secret.Namespace, Name: s.Secret.Name}
	err = s.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return apierrors.NewConflict(corev1.Resource("secrets"), s.Secret.Name, err)
	}
	return err
}

// UnissuableError is the reason why the CA can't issue the ACME server's certificate, such as a name that its constraints don't
// permit.
type UnissuableError struct{ error }

func (e *UnissuableError) Error() string {
	return "the ACME server's TLS certificate can't be made: " + e.error.Error()
}

func values(ids []acme.Identifier) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.Value
	}
	return out
}

// identifiers returns the names and addresses that the certificate must have: the ACME server's names, and the hosts of the
// default issuer's URLs.
func (s *TLSCertificate) identifiers(issuer *issuers.Issuer) ([]acme.Identifier, *acme.Problem) {
	hosts := slices.Clone(s.Names)
	for _, base := range issuer.Bases {
		if u, err := url.Parse(string(base)); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	slices.Sort(hosts)
	var ids []acme.Identifier
	for _, host := range slices.Compact(hosts) {
		normal, problem := identifierOf(host).Normalize()
		if problem != nil {
			return nil, problem
		}
		ids = append(ids, normal)
	}
	return ids, nil
}

// admitted returns the identifiers of other issuers' hosts that the default issuer's policy permits, without those in names. The
// authors of the other issuers choose the hosts. So a host that is refused must not invalidate the certificate, and the ACME server
// gets no name that the default issuer would not certify.
func admitted(issuer *issuers.Issuer, hosts []string, names []acme.Identifier) []acme.Identifier {
	if issuer.Fault != nil {
		return nil // its policy may be incomplete; a certificate with the names stays
	}
	var ids []acme.Identifier
	for _, host := range hosts {
		id, problem := issuer.Policy.AdmitIdentifier(identifierOf(host))
		if problem != nil || id.Wildcard() || slices.Contains(names, id) || slices.Contains(ids, id) {
			continue
		}
		if ids = append(ids, id); len(ids) == maxOthers {
			break
		}
	}
	return ids
}

// identifierOf returns the identifier of a URL's host. A host that ends in a digit is an address, as in URLs.
func identifierOf(host string) acme.Identifier {
	id := acme.Identifier{Type: acme.DNS, Value: host}
	if host != "" && (strings.Contains(host, ":") || host[len(host)-1] >= '0' && host[len(host)-1] <= '9') {
		id.Type = acme.IP
	}
	return id
}

// good reports whether the Secret's certificate needs no renewal yet.
func (s *TLSCertificate) good(secret *corev1.Secret, authority *ca.Authority, ids []acme.Identifier) bool {
	pair, err := ca.ParseKeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return false
	}
	certificate := pair.Certificate
	if certificate.CheckSignatureFrom(authority.Certificate()) != nil || s.due(certificate) {
		return false
	}
	return !slices.ContainsFunc(ids, func(id acme.Identifier) bool { return certificate.VerifyHostname(id.Value) != nil })
}

// due reports whether a third of a certificate's life is left, or less.
func (s *TLSCertificate) due(certificate *x509.Certificate) bool {
	return s.Clock.Now().After(certificate.NotAfter.Add(-TLSCertificateLifetime / 3))
}

func (s *TLSCertificate) issue(issuer *issuers.Issuer, ids []acme.Identifier, key crypto.Signer) (chain []byte, err error) {
	profile, err := ca.NewProfile(ca.ProfileConfig{
		Name: "server", Lifetime: TLSCertificateLifetime, Backdate: pki.DefaultBackdate(TLSCertificateLifetime),
	})
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{Subject: pkix.Name{}}, key)
	if err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	certificate, err := issuer.Authority.Issue(profile,
		ca.Request{ID: string(uuid.NewUUID()), Identifiers: ids, CSR: csr, FinalizedAt: s.Clock.Now()})
	if err != nil {
		return nil, err
	}
	return append(ca.EncodeCertificates(certificate), issuer.Chain...), nil
}
