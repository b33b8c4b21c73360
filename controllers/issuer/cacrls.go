package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/pki"
)

// CACRLs publishes the CRLs of the CAs above those that a person brings: the person keeps these CRLs, and spec.ca.crls names them.
type CACRLs struct {
	// Client reads ConfigMaps and Secrets past every cache.
	Client client.Client
	Clock  clock.PassiveClock
}

// expiresSoon is the part of a CRL's life below which the issuer gets a warning.
const expiresSoon = 5

// Publish verifies the CRLs in spec.ca.crls and publishes those that are newer than the published ones. The issuer gets a warning
// for each CRL that is missing, does not verify or expires soon, and a fault if a CRL revokes the issuing CA or a CA above it. The
// error is one of the Kubernetes API.
func (c CACRLs) Publish(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	above := foreignCAs(issuer)
	if len(above) == 0 {
		return nil
	}
	if len(object.Spec.CA.CRLs) == 0 {
		for _, authority := range above {
			issuer.Note("no CRL of %q is published (spec.ca.crls)", acme.Printable(authority.Subject.String(), 200))
		}
		return nil
	}
	found, err := c.read(ctx, object, issuer, above)
	if err != nil {
		return err
	}
	for _, authority := range above {
		i := slices.IndexFunc(found, func(crl *ca.ForeignCRL) bool { return crl.Issuer.Equal(authority) })
		var newest *ca.ForeignCRL
		if i >= 0 {
			newest = found[i]
		}
		if err := c.publish(ctx, object, issuer, authority, newest); err != nil {
			return err
		}
	}
	return nil
}

// foreignCAs returns the CAs above the issuer's that sign CRLs elsewhere, each once.
func foreignCAs(issuer *issuers.Issuer) []*x509.Certificate {
	known := map[string]bool{}
	for _, authority := range issuer.Authorities() {
		known[v1alpha1.CAName(authority.Certificate())] = true
	}
	for _, root := range issuer.Roots {
		known[v1alpha1.CAName(root.Certificate)] = true
	}
	var above []*x509.Certificate
	for _, authority := range issuer.Authorities() {
		for _, certificate := range append(authority.FullChain(), authority.TrustAnchors()...) {
			if name := v1alpha1.CAName(certificate); !known[name] {
				known[name] = true
				above = append(above, certificate)
			}
		}
	}
	return above
}

// read returns the newest CRL of each CA in spec.ca.crls.
func (c CACRLs) read(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, above []*x509.Certificate,
) ([]*ca.ForeignCRL, error) {
	var all []*ca.ForeignCRL
	for i, source := range object.Spec.CA.CRLs {
		data, where, err := c.entry(ctx, object.Namespace, source)
		switch {
		case apierrors.IsNotFound(err):
			issuer.Warn("spec.ca.crls[%d]: there is no %s", i, where)
			continue
		case err != nil:
			return nil, err
		case len(data) == 0:
			issuer.Warn("spec.ca.crls[%d]: %s has no entry %q", i, where, source.Key)
			continue
		}
		crls, err := ca.ReadCRLs(data, above)
		if err != nil {
			issuer.Warn("spec.ca.crls[%d]: %s: %v", i, where, err)
			continue
		}
		all = append(all, crls...)
	}
	return ca.NewestCRLs(all), nil
}

// entry returns the bytes that a source names, and the name of the source's object.
func (c CACRLs) entry(ctx context.Context, namespace string, source v1alpha1.CRLSource) (data []byte, where string, err error) {
	if source.SecretRef != nil {
		secret := &corev1.Secret{}
		err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: source.SecretRef.Name}, secret)
		return secret.Data[source.Key], fmt.Sprintf("Secret %q", source.SecretRef.Name), err
	}
	configMap := &corev1.ConfigMap{}
	err = c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: source.ConfigMapRef.Name}, configMap)
	where = fmt.Sprintf("ConfigMap %q", source.ConfigMapRef.Name)
	if text, ok := configMap.Data[source.Key]; ok {
		return []byte(text), where, err
	}
	return configMap.BinaryData[source.Key], where, err
}

// publish stores the newest CRL of a CA, unless the published one is newer. newest is nil if spec.ca.crls has none.
func (c CACRLs) publish(
	ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer, authority *x509.Certificate, newest *ca.ForeignCRL,
) error {
	name := v1alpha1.CAName(authority)
	subject := acme.Printable(authority.Subject.String(), 200)
	published, err := c.published(ctx, object, authority)
	if err != nil {
		return err
	}
	switch {
	case newest == nil:
		issuer.Warn("spec.ca.crls has no CRL of %q", subject)
		newest = published
	case published != nil && newest.Compare(published) < 0:
		issuer.Warn("spec.ca.crls: the CRL of %q is older than the published one, which stays", subject)
		newest = published
	case published == nil || !bytes.Equal(newest.DER, published.DER):
		if err := c.store(ctx, object, name, newest); err != nil {
			return err
		}
	}
	crl := issuers.CACRL{Name: name}
	if newest != nil {
		crl.ThisUpdate, crl.NextUpdate = newest.ThisUpdate, newest.NextUpdate
		c.judge(issuer, subject, newest)
	}
	issuer.CACRLs = append(issuer.CACRLs, crl)
	return nil
}

// judge warns of a CRL that expires soon, and sets the issuer's fault if the CRL revokes a CA of the issuing chain.
func (c CACRLs) judge(issuer *issuers.Issuer, subject string, crl *ca.ForeignCRL) {
	switch now := c.Clock.Now(); {
	case now.After(crl.NextUpdate):
		issuer.Warn("spec.ca.crls: the CRL of %q expired at %s", subject, pki.TimeText(crl.NextUpdate))
	case crl.NextUpdate.Sub(now) < crl.NextUpdate.Sub(crl.ThisUpdate)/expiresSoon:
		issuer.Warn("spec.ca.crls: the CRL of %q expires at %s", subject, pki.TimeText(crl.NextUpdate))
	}
	for _, certificate := range issuer.Authority.FullChain() {
		if crl.Lists(certificate) && issuer.Fault == nil {
			issuer.Fault = &issuers.Fault{Reason: v1alpha1.ReasonCAUnavailable, Message: fmt.Sprintf(
				"spec.ca.crls: the CRL of %q revokes the CA certificate %s", subject, v1alpha1.SerialText(certificate.SerialNumber))}
		}
	}
}

// published returns the CRL of a CA that is published; nil if there is none that verifies.
func (c CACRLs) published(ctx context.Context, object *v1alpha1.AcmeIssuer, authority *x509.Certificate) (*ca.ForeignCRL, error) {
	name := v1alpha1.CRLConfigMap(object.Name, v1alpha1.CAName(authority))
	configMap := &corev1.ConfigMap{}
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, configMap)
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	crls, err := ca.ReadCRLs(configMap.BinaryData[v1alpha1.CRLField], []*x509.Certificate{authority})
	if err != nil {
		return nil, nil //nolint:nilerr // it is replaced by one that verifies
	}
	return crls[0], nil
}

// store writes a CRL to its ConfigMap.
func (c CACRLs) store(ctx context.Context, object *v1alpha1.AcmeIssuer, name string, crl *ca.ForeignCRL) error {
	err := c.Client.Apply(ctx, corev1ac.ConfigMap(v1alpha1.CRLConfigMap(object.Name, name), object.Namespace).
		WithLabels(map[string]string{v1alpha1.IssuerLabel: object.Name}).
		WithBinaryData(map[string][]byte{v1alpha1.CRLField: crl.DER}), applyOptions...)
	if err != nil {
		return err
	}
	number := "none"
	if crl.Number != nil {
		number = crl.Number.String()
	}
	audit.CRLPublished(ctx, object.Namespace, object.Name, name, number, len(crl.Revoked), crl.NextUpdate)
	return nil
}
