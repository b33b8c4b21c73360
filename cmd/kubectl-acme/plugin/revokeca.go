package plugin

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

// currentCA is the value of --ca for the CA certificate that issues.
const currentCA = "issuing"

// caReasons are the reasons of a CA certificate's revocation.
var caReasons = []v1alpha1.CARevocationReason{v1alpha1.CAUnspecified, v1alpha1.CACompromise, v1alpha1.CASuperseded,
	v1alpha1.CACessationOfOperation}

// revokeCA revokes a CA certificate of the issuer that args name, and waits until the root's CRL lists the certificate.
func (o *options) revokeCA(ctx context.Context, which string, args []string, reasonText string, timeout time.Duration) error {
	if len(args) > 1 {
		return errors.New("--ca takes one argument, the issuer; write --ca=SERIAL or --ca=FILE for a certificate that does not issue any more")
	}
	reason, err := parseCAReason(reasonText)
	if err != nil {
		return err
	}
	issuer, err := o.issuer(ctx, args)
	if err != nil {
		return err
	}
	certificate, root, err := o.toRevokeCA(issuer, which)
	if err != nil {
		return err
	}
	serial := v1alpha1.SerialText(certificate.SerialNumber)
	revokedBefore := func(r v1alpha1.RevokedCA) bool { return r.Serial == serial }
	if !slices.ContainsFunc(issuer.Spec.CA.SelfSigned.Revoked, revokedBefore) {
		question := "Revoke the CA certificate %s (%s) of issuer %s? Programs that check CRLs then refuse all certificates under it. This cannot be undone."
		if err := o.confirm(ctx, question, serial, certificate.Subject.CommonName, issuer.Name); err != nil {
			return err
		}
		if err := o.askToRevokeCA(ctx, issuer, v1alpha1.RevokedCA{Serial: serial, Reason: reason}); err != nil {
			return err
		}
	}
	if err := o.awaitReplacement(ctx, issuer, certificate, timeout); err != nil {
		return err
	}
	return o.awaitListed(ctx, issuer, v1alpha1.CAName(root), certificate, timeout)
}

func parseCAReason(text string) (v1alpha1.CARevocationReason, error) {
	var names []string
	for _, reason := range caReasons {
		if strings.EqualFold(string(reason), text) {
			return reason, nil
		}
		names = append(names, string(reason))
	}
	return "", fmt.Errorf("unknown reason %q; a CA certificate is revoked for one of: %s", text, strings.Join(names, ", "))
}

// toRevokeCA returns a CA certificate of an issuer, and the root that signed the certificate.
func (o *options) toRevokeCA(issuer *v1alpha1.AcmeIssuer, which string) (certificate, root *x509.Certificate, err error) {
	issuing := issuer.Status.IssuingCertificate
	switch {
	case issuer.Spec.CA.SelfSigned == nil:
		return nil, nil, fmt.Errorf("issuer %s uses your own CA: revoke its certificate where the root's key is, and put the CRL where spec.ca.crls says", issuer.Name)
	case issuing == nil:
		return nil, nil, fmt.Errorf("issuer %s has no CA certificate yet", issuer.Name)
	}
	known := view.Certificates(issuing.Chain + issuer.Status.RetiredCertificates + issuer.Status.RevokedCertificates)
	if which == currentCA && len(known) > 0 {
		certificate = known[0]
	} else {
		serial, err := serialOf(which)
		if err != nil {
			return nil, nil, err
		}
		i := slices.IndexFunc(known, func(c *x509.Certificate) bool { return v1alpha1.SerialText(c.SerialNumber) == serial })
		if i < 0 {
			return nil, nil, fmt.Errorf("issuer %s has no CA certificate %q; list a serial number in spec.ca.selfSigned.revoked if its Secret is lost", issuer.Name, which)
		}
		certificate = known[i]
	}
	for _, root := range view.Certificates(issuer.Status.CABundle) {
		if !certificate.Equal(root) && certificate.CheckSignatureFrom(root) == nil {
			return certificate, root, nil
		}
	}
	return nil, nil, errors.New("no trusted root signed this certificate; a root itself cannot be revoked: replace it, and remove it from trust stores")
}

// askToRevokeCA adds a certificate to spec.ca.selfSigned.revoked. The resourceVersion makes it fail if the issuer has changed since the
// user saw it.
func (o *options) askToRevokeCA(ctx context.Context, issuer *v1alpha1.AcmeIssuer, revoked v1alpha1.RevokedCA) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": issuer.ResourceVersion},
		"spec": map[string]any{"ca": map[string]any{"selfSigned": map[string]any{"revoked": append(issuer.Spec.CA.SelfSigned.Revoked,
			revoked)}}},
	})
	if err != nil {
		return err
	}
	return o.kube.Patch(ctx, issuer, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager))
}

// awaitReplacement waits until the issuer issues from another intermediate than the revoked one.
func (o *options) awaitReplacement(
	ctx context.Context, issuer *v1alpha1.AcmeIssuer, revoked *x509.Certificate, timeout time.Duration,
) error {
	err := await(ctx, o, issuer, timeout, "waiting for the new intermediate", func(issuer *v1alpha1.AcmeIssuer) (bool, error) {
		if issuer.Status.ObservedGeneration < issuer.Generation || issuer.Status.IssuingCertificate == nil {
			return false, nil
		}
		chain := view.Certificates(issuer.Status.IssuingCertificate.Chain)
		return !slices.ContainsFunc(chain, revoked.Equal), nil
	})
	if err != nil {
		return fmt.Errorf("the revocation is stored, and nothing is issued from the certificate any more: %w", notRotated(issuer, err))
	}
	now := issuer.Status.IssuingCertificate
	o.say(o.Out, "Issuer %s issues from %s, SHA-256 %s", issuer.Name, now.Subject, now.SHA256)
	return nil
}

// awaitListed waits until the root's CRL lists a certificate.
func (o *options) awaitListed(
	ctx context.Context, issuer *v1alpha1.AcmeIssuer, name string, revoked *x509.Certificate, timeout time.Duration,
) error {
	list := &corev1.ConfigMap{}
	list.Namespace, list.Name = issuer.Namespace, v1alpha1.CRLConfigMap(issuer.Name, name)
	number := ""
	err := await(ctx, o, list, timeout, "waiting for CRL "+name, func(list *corev1.ConfigMap) (bool, error) {
		crl, err := x509.ParseRevocationList(list.BinaryData[v1alpha1.CRLField])
		if err != nil {
			return false, nil //nolint:nilerr // the controllers repair it, or the wait times out
		}
		number = fmt.Sprint(crl.Number)
		return slices.ContainsFunc(crl.RevokedCertificateEntries,
			func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(revoked.SerialNumber) == 0 }), nil
	})
	if err != nil {
		return fmt.Errorf("the revocation is stored, but the CRL of the root does not list it: %w; the root's key must be in the cluster to sign the CRL", err)
	}
	o.say(o.Out, "CA certificate %s is revoked: CRL %s, number %s, lists it", v1alpha1.SerialText(revoked.SerialNumber), name, number)
	o.say(o.Out, "Replace all certificates under it. Clients that support renewal information (RFC 9773) are told to renew at once; renew the others yourself.")
	return nil
}
