package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func newCA(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "ca", Short: "Show what a CA with a key outside of the cluster needs"}
	cmd.AddCommand(&cobra.Command{
		Use:   "csr [ISSUER]",
		Short: "Print the request for the certificate of a CA whose key is in a key service",
		Long: `Print the request (PKCS #10) for the certificate of a CA whose key is in a key service (spec.ca.external). Have it signed by the CA
above, and put the certificate and those above it into the object that spec.ca.external.chain names.`,
		Example:           `  kubectl acme ca csr corp > corp.csr`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: o.completing(completeIssuers),
		RunE: o.onIssuer(func(_ context.Context, issuer *v1alpha1.AcmeIssuer) error {
			return o.printRequest(issuer)
		}),
	})
	return cmd
}

func (o *options) printRequest(issuer *v1alpha1.AcmeIssuer) error {
	switch external := issuer.Status.External; {
	case issuer.Spec.CA.External == nil:
		return fmt.Errorf("the CA of issuer %s has no key outside of the cluster (spec.ca.external)", issuer.Name)
	case external == nil || external.CertificateRequest == "":
		return fmt.Errorf("issuer %s has no request yet: run kubectl acme why issuer/%s", issuer.Name, issuer.Name)
	default:
		_, err := fmt.Fprint(o.Out, external.CertificateRequest)
		return err
	}
}
