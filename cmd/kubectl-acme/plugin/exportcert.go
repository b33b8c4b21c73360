package plugin

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

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
			text, err := exported(order, full, o.output == "der")
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

// exported returns the certificate in PEM or DER. It encodes the parsed certificates, so the output has nothing else.
func exported(order *v1alpha1.AcmeOrder, full, der bool) ([]byte, error) {
	chain := view.Certificates(order.Status.Certificate)
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
