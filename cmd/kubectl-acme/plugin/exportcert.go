package plugin

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

func newExportCert(o *options) *cobra.Command {
	var full bool
	var file string
	cmd := &cobra.Command{
		Use:   "export-cert NAME|SERIAL|DNS-NAME",
		Short: "Write the certificate of an order, or its chain",
		Example: `  kubectl acme export-cert shop.example --full-chain > tls.crt
  kubectl acme export-cert b7m2k0p9u1 -o der --file shop.der`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.completing(completeOrders),
		RunE: o.run(func(ctx context.Context, args []string) error {
			order, err := o.order(ctx, args[0])
			if err != nil {
				return err
			}
			chain := ""
			if full {
				if chain, err = o.chainOf(ctx, order); err != nil {
					return err
				}
			}
			text, err := exported(order, chain, full, o.output == "der")
			if err != nil {
				return err
			}
			return o.writeTo(file, text, o.output == "der")
		}),
	}
	cmd.Flags().BoolVar(&full, "full-chain", false, "include the intermediate CA certificates")
	cmd.Flags().StringVar(&file, "file", "", "file to write (default standard output)")
	o.addOutput(cmd, "pem", "der")
	return cmd
}

// chainOf returns the CA certificates, PEM, that follow the certificate of an order whose status has only the id of the chain.
func (o *options) chainOf(ctx context.Context, order *v1alpha1.AcmeOrder) (string, error) {
	if order.Status.Chain == "" {
		return "", nil
	}
	name := order.Spec.IssuerRef.Name
	issuer, err := get[v1alpha1.AcmeIssuer](ctx, o, name)
	if err != nil {
		return "", err
	}
	if issuer != nil {
		if chain, ok := issuer.Status.ChainOf(&order.Status); ok {
			return chain, nil
		}
	}
	former := &corev1.ConfigMap{}
	err = o.kube.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: v1alpha1.FormerConfigMap(name)}, former)
	if client.IgnoreNotFound(err) != nil {
		return "", err
	}
	chain := former.Data[v1alpha1.ChainField(order.Status.Chain)]
	if chain == "" {
		return "", fmt.Errorf("the issuer %s does not have the chain of %s: omit --full-chain", name, describeOrder(order))
	}
	return chain, nil
}

// exported returns the certificate in PEM or DER. It encodes the parsed certificates, so the output has nothing else.
func exported(order *v1alpha1.AcmeOrder, above string, full, der bool) ([]byte, error) {
	chain := view.Certificates(order.Status.Certificate + above)
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s has no certificate: it is %s (run kubectl acme why %s)", describeOrder(order), order.Status.State, order.Name)
	}
	if der {
		if full {
			return nil, errors.New("DER holds only one certificate: omit --full-chain")
		}
		return chain[0].Raw, nil
	}
	if !full {
		chain = chain[:1]
	}
	var text []byte
	for _, certificate := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return text, nil
}

func (o *options) writeTo(file string, text []byte, binary bool) error {
	if file != "" {
		return os.WriteFile(file, text, 0o644) // certificates are public
	}
	if binary && isTerminal(o.Out) {
		return errors.New("refusing to write DER to a terminal: use --file, or redirect the output")
	}
	_, err := o.Out.Write(text)
	return err
}
