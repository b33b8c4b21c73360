package plugin

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
	"github.com/acmeca/acmeca/internal/crlstore"
)

func newCRL(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crl [ISSUER]",
		Short: "Print the current CRLs of all CAs of an issuer",
		Long: `Print the current CRLs of all CAs of an issuer: of its root, its intermediate, and retired ones. The output in PEM is the
file that programs which verify certificates read.`,
		Example: `  kubectl acme crl > crls.pem
  kubectl acme crl -o text`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.run(func(ctx context.Context, args []string) error {
			issuer, err := o.issuer(ctx, args)
			if err != nil {
				return err
			}
			return o.crl(ctx, issuer)
		}),
	}
	o.addOutput(cmd, "pem", "text")
	return cmd
}

func (o *options) crl(ctx context.Context, issuer *v1alpha1.AcmeIssuer) error {
	get := func(ctx context.Context, name string) (*corev1.ConfigMap, error) {
		configMap := &corev1.ConfigMap{}
		return configMap, o.kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: name}, configMap)
	}
	var lists []view.CRL
	var text []byte
	for _, authority := range authoritiesOf(issuer) {
		name := v1alpha1.CRLConfigMap(issuer.Name, v1alpha1.CAName(authority))
		_, content, err := crlstore.Read(ctx, get, name, nil)
		if apierrors.IsNotFound(err) {
			o.say(o.ErrOut, "%s has no CRL", authority.Subject)
			continue
		}
		if err != nil {
			return err
		}
		der := content.DER
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return fmt.Errorf("ConfigMap %s: %w", name, err)
		}
		lists = append(lists, view.CRL{Authority: authority.Subject.String(), Name: v1alpha1.CAName(authority), List: list})
		text = append(text, v1alpha1.EncodeCRL(der)...)
	}
	if len(lists) == 0 {
		return fmt.Errorf("issuer %s has no CRL yet: run kubectl acme why issuer/%s", issuer.Name, issuer.Name)
	}
	if o.output == "text" {
		view.CRLs(lists).Write(o.screen())
		return nil
	}
	_, err := o.Out.Write(text)
	return err
}

// authoritiesOf returns the CA certificates of an issuer, the one that issues first.
func authoritiesOf(issuer *v1alpha1.AcmeIssuer) []*x509.Certificate {
	var all []*x509.Certificate
	if c := issuer.Status.IssuingCertificate; c != nil {
		all = view.Certificates(c.Chain)
	}
	all = append(all, view.Certificates(issuer.Status.RetiredCertificates)...)
	return v1alpha1.DistinctCAs(append(all, view.Certificates(issuer.Status.CABundle)...))
}

// crlURL returns the URL of the CRL that a certificate names, or the name of the CRL.
func crlURL(order *v1alpha1.AcmeOrder) string {
	for _, certificate := range view.Certificates(order.Status.Certificate) {
		for _, url := range certificate.CRLDistributionPoints {
			return url
		}
	}
	return acme.CRLPrefix + order.Status.CRL + acme.CRLSuffix
}
