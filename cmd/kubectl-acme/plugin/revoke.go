package plugin

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
	"github.com/acmeca/acmeca/internal/crlstore"
)

func newRevoke(o *options) *cobra.Command {
	var reason, name, ca, grant string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "revoke [NAME|SERIAL|FILE ...]",
		Short: "Revoke certificates, and wait until the CRL lists them",
		Long: `Revoke certificates by order name, serial number, or certificate file (PEM or DER). With --dns-name, revoke all
certificates that are valid for a name, after a confirmation. With --granted-by, revoke all valid certificates that a grant of
the issuer authorized, in whole or in part, whether or not the grant still exists. Revocation cannot be undone.

The order records the user in the annotation ` + v1alpha1.RevokedByAnnotation + `.

With --ca, revoke a CA certificate that the operator made: by default the intermediate that issues, which the operator then
replaces at once. The root's CRL lists it, and programs that check the CRL of the root refuse all certificates under it.`,
		Example: `  kubectl acme revoke b7m2k0p9u1 --reason keyCompromise
  kubectl acme revoke tls.crt --reason superseded
  kubectl acme revoke --dns-name shop.example
  kubectl acme revoke --granted-by team-a default --reason cessationOfOperation
  kubectl acme revoke --ca default --reason cACompromise
  kubectl acme revoke --ca=5f3a0c44d1 default --reason superseded`,
		ValidArgsFunction: o.completing(completeOrders),
		RunE: o.run(func(ctx context.Context, args []string) error {
			if ca != "" {
				return o.revokeCA(ctx, ca, args, reason, timeout)
			}
			code, err := parseReason(reason)
			if err != nil {
				return err
			}
			var orders []v1alpha1.AcmeOrder
			if grant != "" {
				orders, err = o.grantedBy(ctx, grant, args, name)
			} else {
				orders, err = o.toRevoke(ctx, args, name)
			}
			if err != nil {
				return err
			}
			var errs []error
			for i := range orders {
				errs = append(errs, o.revoke(ctx, &orders[i], code, timeout))
			}
			return errors.Join(errs...)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "unspecified", "reason, by its name or number in RFC 5280: "+strings.Join(reasonNames(), ", "))
	cmd.Flags().StringVar(&name, "dns-name", "", "revoke all certificates that are valid for this name or address")
	cmd.Flags().StringVar(&grant, "granted-by", "", "revoke all certificates that this grant authorized; the argument is the issuer")
	cmd.Flags().StringVar(&ca, "ca", "", "revoke a CA certificate of the issuer that the argument names, by serial number or file; by default the issuing one")
	cmd.Flags().Lookup("ca").NoOptDefVal = currentCA
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "maximum time to wait for the CRL")
	o.complete(cmd, "reason", fixed(reasonNames()...))
	o.addYes(cmd)
	return cmd
}

func reasonNames() []string {
	var names []string
	for _, code := range slices.Sorted(maps.Keys(acme.RevocationReasonNames)) {
		names = append(names, acme.RevocationReasonNames[code])
	}
	return names
}

// parseReason parses the name of a reason, in any case, or its number.
func parseReason(text string) (int, error) {
	for code, name := range acme.RevocationReasonNames {
		if strings.EqualFold(name, text) || strconv.Itoa(code) == text {
			return code, nil
		}
	}
	return 0, fmt.Errorf("unknown reason %q; use one of: %s", text, strings.Join(reasonNames(), ", "))
}

// toRevoke returns the orders to revoke. It asks for confirmation if they are selected by a DNS name, which may select more than expected.
func (o *options) toRevoke(ctx context.Context, args []string, name string) ([]v1alpha1.AcmeOrder, error) {
	switch {
	case name == "" && len(args) == 0:
		return nil, errors.New("name an order, a serial number or a certificate file to revoke, or use --dns-name")
	case name != "" && len(args) > 0:
		return nil, errors.New("use either arguments or --dns-name, not both")
	case name == "":
		var orders []v1alpha1.AcmeOrder
		for _, arg := range args {
			if serial, err := serialOf(arg); err == nil && serial == "" && isIdentifier(arg) {
				return nil, fmt.Errorf("%q looks like a DNS name or address: use --dns-name %s", arg, arg)
			}
			order, err := o.order(ctx, arg)
			if err != nil {
				return nil, err
			}
			orders = append(orders, *order)
		}
		return orders, nil
	}
	all, err := o.ordersFor(ctx, false, name, client.MatchingFields{stateField: string(acme.StateValid)})
	if err != nil {
		return nil, err
	}
	return o.confirmed(ctx, all, "for "+name)
}

// grantedBy returns the orders to revoke of a grant, after a confirmation.
func (o *options) grantedBy(ctx context.Context, grant string, args []string, name string) ([]v1alpha1.AcmeOrder, error) {
	if len(args) != 1 || name != "" {
		return nil, errors.New("--granted-by takes one argument, the issuer, and no --dns-name")
	}
	selected := client.MatchingFields{issuerField: args[0], stateField: string(acme.StateValid)}
	keys, err := o.mentioning(ctx, false, grantsColumn, grant, selected)
	if err != nil {
		return nil, err
	}
	all, err := o.fetch(ctx, keys)
	if err != nil {
		return nil, err
	}
	granted := slices.DeleteFunc(all, func(order v1alpha1.AcmeOrder) bool { return !order.GrantedBy(grant) })
	return o.confirmed(ctx, granted, "by the grant "+grant+" of issuer "+args[0])
}

// confirmed returns the orders whose certificates are valid now, after it has shown them and the user has confirmed. which describes
// the certificates.
func (o *options) confirmed(ctx context.Context, all []v1alpha1.AcmeOrder, which string) ([]v1alpha1.AcmeOrder, error) {
	orders := slices.DeleteFunc(all, func(order v1alpha1.AcmeOrder) bool {
		return view.OrderState(&order, o.now()) != string(acme.StateValid)
	})
	if len(orders) == 0 {
		return nil, fmt.Errorf("no valid certificate %s in namespace %q", which, o.namespace)
	}
	s := o.screen()
	s.Writer = o.ErrOut
	view.Orders(orders, false, true, s).Write(s)
	return orders, o.confirm(ctx, "Revoke these %d certificates %s? This cannot be undone.", len(orders), which)
}

func (o *options) revoke(ctx context.Context, order *v1alpha1.AcmeOrder, reason int, timeout time.Duration) error {
	switch {
	case order.Status.RevokedAt != nil:
		o.say(o.Out, "%s was already revoked at %s", describeOrder(order), view.Time(order.Status.RevokedAt.Time))
		return nil
	case order.Status.State != acme.StateValid:
		return fmt.Errorf("%s has no certificate: it is %s", describeOrder(order), order.Status.State)
	}
	if err := o.askToRevoke(ctx, order, reason); err != nil {
		return err
	}
	if err := await(ctx, o, order, timeout, "waiting for the controllers to revoke "+order.Name, revoked); err != nil {
		return fmt.Errorf("%s: %w; the request is stored, and the controllers process it when they run", order.Name, err)
	}
	o.say(o.Out, "%s: certificate %s is revoked (%s)", describeOrder(order), order.Status.Serial, view.ReasonName(reason))
	return o.awaitCRL(ctx, order, timeout)
}

// askToRevoke writes the request into the order. It replaces a client's refused request. The resourceVersion makes it fail if the order has
// changed since the user saw it. The finalizer keeps the order until the CRL lists the certificate.
func (o *options) askToRevoke(ctx context.Context, order *v1alpha1.AcmeOrder, reason int) error {
	finalizers := order.Finalizers
	if !slices.Contains(finalizers, v1alpha1.RevocationFinalizer) {
		finalizers = append(slices.Clone(finalizers), v1alpha1.RevocationFinalizer)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": order.ResourceVersion,
			"finalizers":      finalizers,
			"annotations":     map[string]any{v1alpha1.RevokedByAnnotation: o.who(ctx)},
		},
		"spec": map[string]any{"revocation": map[string]any{"reason": reason, "request": nil}},
	})
	if err != nil {
		return err
	}
	return o.kube.Patch(ctx, order, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager))
}

func revoked(order *v1alpha1.AcmeOrder) (bool, error) {
	if p := revocationProblem(order); p != nil {
		return false, fmt.Errorf("refused: %s: %s", p.Type, p.Detail)
	}
	return order.Status.RevokedAt != nil, nil
}

func revocationProblem(order *v1alpha1.AcmeOrder) *v1alpha1.Problem {
	handled := order.Status.Revocation
	if handled == nil || order.Spec.Revocation == nil || handled.Digest != order.Spec.Revocation.Digest() {
		return nil
	}
	return handled.Problem
}

// configMap returns a function that returns a CRL's head, which is known, and gets the parts.
func (o *options) configMap(head *corev1.ConfigMap) crlstore.Get {
	return func(ctx context.Context, name string) (*corev1.ConfigMap, error) {
		if name == head.Name {
			return head, nil
		}
		part := &corev1.ConfigMap{}
		return part, o.kube.Get(ctx, client.ObjectKey{Namespace: head.Namespace, Name: name}, part)
	}
}

// awaitCRL waits until the CRL lists the certificate. A user who may not read ConfigMaps gets a message instead.
func (o *options) awaitCRL(ctx context.Context, order *v1alpha1.AcmeOrder, timeout time.Duration) error {
	serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
	if !ok || order.Status.CRL == "" {
		return nil
	}
	list := &corev1.ConfigMap{}
	list.Namespace, list.Name = order.Namespace, v1alpha1.CRLConfigMap(order.Spec.IssuerRef.Name, order.Status.CRL)
	said := ""
	err := await(ctx, o, list, timeout, "waiting for CRL "+order.Status.CRL, func(list *corev1.ConfigMap) (bool, error) {
		_, content, err := crlstore.Read(ctx, o.configMap(list), list.Name, nil)
		if err != nil {
			return false, nil //nolint:nilerr // the controllers repair it, or the wait times out
		}
		crl, err := x509.ParseRevocationList(content.DER)
		if err != nil {
			return false, nil //nolint:nilerr // as above
		}
		said = fmt.Sprintf("%s lists it since %s (CRL number %s)", crlURL(order), view.Time(crl.ThisUpdate), crl.Number)
		return slices.ContainsFunc(crl.RevokedCertificateEntries,
			func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial) == 0 }), nil
	})
	if err != nil {
		o.say(o.ErrOut, "Cannot tell whether the CRL lists it yet (%v)", err)
		return nil
	}
	o.say(o.Out, "%s", said)
	return nil
}
