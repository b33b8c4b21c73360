package authority

import (
	"context"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// revokedAnnotation lists, on the Secret of an intermediate, the serial numbers of its certificates that the root revoked. So a
// revocation outlives its entry in the spec, and the CRL if the root's key is elsewhere.
const revokedAnnotation = "acmeca.dev/revoked"

// retiredRootSuffix returns the suffix of the Secret of a former root, whose key signs the root's CRL.
func retiredRootSuffix(root *x509.Certificate) string {
	return rootSuffix + "-" + v1alpha1.CAName(root)
}

// IsRevoked reports whether the spec of an issuer revokes a CA certificate.
func IsRevoked(object *v1alpha1.AcmeIssuer, certificate *x509.Certificate) bool {
	serial := v1alpha1.SerialText(certificate.SerialNumber)
	return object.Spec.CA.SelfSigned != nil &&
		slices.ContainsFunc(object.Spec.CA.SelfSigned.Revoked, func(r v1alpha1.RevokedCA) bool { return r.Serial == serial })
}

// isRevoked reports whether a certificate in an intermediate's Secret is revoked: by the spec, or by an earlier spec.
func isRevoked(object *v1alpha1.AcmeIssuer, secret *corev1.Secret, certificate *x509.Certificate) bool {
	return IsRevoked(object, certificate) || slices.Contains(notedRevoked(secret), v1alpha1.SerialText(certificate.SerialNumber))
}

func notedRevoked(secret *corev1.Secret) []string {
	return strings.Fields(secret.Annotations[revokedAnnotation])
}

// noteRevoked notes on an intermediate's Secret which of its certificates the spec revokes, and returns the Secret.
func (a Authorities) noteRevoked(
	ctx context.Context, object *v1alpha1.AcmeIssuer, secret *corev1.Secret, certificate *x509.Certificate,
) (*corev1.Secret, error) {
	noted := notedRevoked(secret)
	before := len(noted)
	for _, c := range append(unexpired(a.Clock.Now(), secret.Data[crossField]), certificate) {
		if serial := v1alpha1.SerialText(c.SerialNumber); IsRevoked(object, c) && !slices.Contains(noted, serial) {
			noted = append(noted, serial)
		}
	}
	if len(noted) == before {
		return secret, nil
	}
	changed := secret.DeepCopy()
	kube.Annotate(changed, revokedAnnotation, strings.Join(noted, " "))
	if err := a.Client.Update(ctx, changed); err != nil {
		return secret, err
	}
	for _, serial := range noted[before:] {
		audit.CARevoked(ctx, object, changed.Name, serial)
		a.Events.Eventf(object, nil, "Warning", "CARevoked", "Revoke", "the CA certificate %s is revoked, and all certificates under it", serial)
	}
	return changed, nil
}

// loadRoots sets the issuer's roots: those to trust, with the keys that are in the cluster, and what each of them revokes. cross are
// the cross-certificates of the chain.
func (a Authorities) loadRoots(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, s selfSigned, cross []*x509.Certificate,
) error {
	below := cross
	for _, authority := range issuer.Authorities() {
		below = append(below, authority.Certificate())
	}
	revoked := slices.DeleteFunc(slices.Clone(below), func(c *x509.Certificate) bool {
		return !issuer.IsRevoked(c) && !isRevoked(object, s.intermediate, c)
	})
	roots, err := ca.ParseCertificates(issuer.Bundle)
	if err != nil {
		return err
	}
	for _, certificate := range roots {
		root := issuers.Root{Certificate: certificate, Revoked: a.entries(object, certificate, revoked, below)}
		key, err := a.rootKey(ctx, object, s, certificate)
		if err != nil {
			return err
		}
		root.Authority, err = a.loadAuthority(object.Namespace,
			ca.Material{Chain: ca.EncodeCertificates(certificate), Key: key, SerialKey: s.serialKey})
		if err != nil {
			root.Authority = nil
			issuer.Note("the root %q signs no CRL, because its key is not in the cluster", certificate.Subject.CommonName)
		}
		issuer.Roots = append(issuer.Roots, root)
	}
	return nil
}

// rootKey returns the PEM of a root's private key; nil if it is not in the cluster.
func (a Authorities) rootKey(ctx context.Context, object *v1alpha1.AcmeIssuer, s selfSigned, root *x509.Certificate) ([]byte, error) {
	if s.root != nil {
		for _, fields := range [][2]string{{corev1.TLSCertKey, corev1.TLSPrivateKeyKey}, {nextCertField, nextKeyField}} {
			if certificates := unexpired(a.Clock.Now(), s.root.Data[fields[0]]); len(certificates) > 0 && certificates[0].Equal(root) {
				return s.root.Data[fields[1]], nil
			}
		}
	}
	secret, err := a.get(ctx, object.Namespace, object.Name+retiredRootSuffix(root))
	return secret.Data[corev1.TLSPrivateKeyKey], client.IgnoreNotFound(err)
}

// entries returns the CRL entries of a root: the revoked certificates that it signed, and the serial numbers in the spec that belong
// to none of the certificates below, since their Secret may be lost.
func (a Authorities) entries(object *v1alpha1.AcmeIssuer, root *x509.Certificate, revoked, below []*x509.Certificate) []ca.Entry {
	now := a.Clock.Now()
	reasons := map[string]ca.Reason{}
	for _, r := range object.Spec.CA.SelfSigned.Revoked {
		reasons[r.Serial] = caReasons[r.Reason]
	}
	var entries []ca.Entry
	for _, c := range revoked {
		if c.CheckSignatureFrom(root) == nil {
			entries = append(entries, ca.Entry{Serial: c.SerialNumber, RevokedAt: now, Reason: reasons[v1alpha1.SerialText(c.SerialNumber)],
				NotAfter: c.NotAfter})
		}
	}
	for _, c := range append(below, root) {
		delete(reasons, v1alpha1.SerialText(c.SerialNumber))
	}
	for text, reason := range reasons {
		if serial, ok := new(big.Int).SetString(text, 16); ok && serial.Sign() > 0 && serial.BitLen() <= 159 {
			entries = append(entries, ca.Entry{Serial: serial, RevokedAt: now, Reason: reason, NotAfter: root.NotAfter})
		}
	}
	return entries
}

var caReasons = map[v1alpha1.CARevocationReason]ca.Reason{
	v1alpha1.CAUnspecified: ca.Unspecified, v1alpha1.CACompromise: ca.CACompromise,
	v1alpha1.CASuperseded: ca.Superseded, v1alpha1.CACessationOfOperation: ca.CessationOfOperation,
}
