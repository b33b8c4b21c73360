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
		Short: "Write an order's certificate, or the chain that it came with",
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
	cmd.Flags().BoolVar(&full, "full-chain", false, "with the CA certificates above it, but for the root")
	cmd.Flags().StringVar(&file, "file", "", "the file to write; standard output without it")
	o.addOutput(cmd, "pem", "der")
	return cmd
}

// exported is the certificate as text or bytes. It is encoded anew, so that nothing but certificates can be in it.
func exported(order *v1alpha1.AcmeOrder, full, der bool) ([]byte, error) {
	chain := view.Certificates(order.Status.Certificate)
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s has no certificate: it is %s (kubectl acme why %s)", describeOrder(order), order.Status.State, order.Name)
	}
	if der {
		if full {
			return nil, errors.New("DER holds one certificate: leave out --full-chain")
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
		return errors.New("DER is not for terminals: say --file, or send it elsewhere")
	}
	_, err := o.Out.Write(text)
	return err
}
