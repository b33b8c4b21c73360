package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

// ordersShown is the default number of orders in a table.
const ordersShown = 100

// orderFilter selects orders.
type orderFilter struct {
	all                    bool
	state, account, issuer string
	name                   string
	pod                    string // NAME or NAMESPACE/NAME
	limit                  int
}

func newOrders(o *options) *cobra.Command {
	var f orderFilter
	cmd := &cobra.Command{
		Use:   "orders",
		Short: "List orders, newest first",
		Example: `  kubectl acme orders --state invalid
  kubectl acme orders --dns-name shop.example -o wide
  kubectl acme orders --pod shop/web-0`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ []string) error { return o.orders(ctx, f) }),
	}
	addAllNamespaces(cmd, &f.all)
	cmd.Flags().StringVar(&f.state, "state", "", "only orders in this state")
	cmd.Flags().StringVar(&f.account, "account", "", "only orders of this account")
	cmd.Flags().StringVar(&f.issuer, "issuer", "", "only orders of this issuer")
	cmd.Flags().StringVar(&f.name, "dns-name", "", "only orders for this name or address")
	cmd.Flags().StringVar(&f.pod, "pod", "", "only certificates of this Pod: NAME, or NAMESPACE/NAME")
	cmd.Flags().IntVar(&f.limit, "limit", ordersShown, "number of orders to show; 0 shows all")
	o.addOutput(cmd, "wide", "json", "yaml", "name")
	o.complete(cmd, "state", fixed("pending", "ready", "processing", "valid", "invalid"))
	o.complete(cmd, "issuer", completeIssuers)
	o.complete(cmd, "account", completeAccounts)
	return cmd
}

func (o *options) orders(ctx context.Context, f orderFilter) error {
	orders, left, err := o.newest(ctx, f)
	if err != nil {
		return err
	}
	switch o.output {
	case "json", "yaml":
		list := v1alpha1.AcmeOrderList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []v1alpha1.AcmeOrder{}}
		for i := range orders {
			list.Items = append(list.Items, *typed(&orders[i]))
		}
		_, err := o.structured(list)
		return err
	case "name":
		for _, order := range orders {
			o.say(o.Out, "acmeorder.acmeca.dev/%s", order.Name)
		}
		return nil
	}
	if len(orders) == 0 {
		o.say(o.ErrOut, "No orders found.")
		return nil
	}
	s := o.screen()
	view.Orders(orders, f.all, o.output == "wide", s).Write(s)
	if left > 0 {
		o.say(o.ErrOut, "%d older orders are not shown; --limit 0 shows all", left)
	}
	return nil
}

func (f orderFilter) fields() client.MatchingFields {
	fields := client.MatchingFields{}
	for field, value := range map[string]string{
		stateField: f.state, "spec.accountRef.name": f.account, issuerField: f.issuer, podField: f.pod[strings.Index(f.pod, "/")+1:],
	} {
		if value != "" {
			fields[field] = value
		}
	}
	return fields
}

// ofOtherPod reports whether an order is not of the selected Pod. Its namespace is not selectable.
func (f orderFilter) ofOtherPod(order v1alpha1.AcmeOrder) bool {
	namespace, _, qualified := strings.Cut(f.pod, "/")
	return qualified && (order.Spec.Pod == nil || order.Spec.Pod.Namespace != namespace)
}

// newest returns the newest selected orders, and the number of the others. If there are many, only the returned ones are read in full.
func (o *options) newest(ctx context.Context, f orderFilter) (orders []v1alpha1.AcmeOrder, left int, err error) {
	if f.name != "" {
		if orders, err = o.ordersFor(ctx, f.all, f.name, f.fields()); err != nil {
			return nil, 0, err
		}
		return f.cut(slices.DeleteFunc(orders, f.ofOtherPod))
	}
	opts := []client.ListOption{o.in(f.all)}
	if fields := f.fields(); len(fields) > 0 {
		opts = append(opts, fields)
	}
	p := o.progress("listing orders")
	many := false
	err = pages(ctx, o.kube, func(list *v1alpha1.AcmeOrderList) bool {
		p.add(len(list.Items), list.RemainingItemCount)
		orders = append(orders, list.Items...)
		many = f.limit > 0 && f.pod == "" && list.Continue != ""
		return !many
	}, opts...)
	p.stop()
	if err != nil {
		return nil, 0, err
	}
	if !many {
		orders = slices.DeleteFunc(orders, f.ofOtherPod)
		newestFirst(orders)
		return f.cut(orders)
	}
	keys, left, err := o.newestKeys(ctx, f.limit, opts)
	if err != nil {
		return nil, 0, err
	}
	orders, err = o.fetch(ctx, keys)
	newestFirst(orders)
	return orders, left, err
}

// cut returns the first orders up to the limit, and the number of the others.
func (f orderFilter) cut(orders []v1alpha1.AcmeOrder) ([]v1alpha1.AcmeOrder, int, error) {
	if f.limit <= 0 || len(orders) <= f.limit {
		return orders, 0, nil
	}
	return orders[:f.limit], len(orders) - f.limit, nil
}

// lighten drops the large fields that a table does not show.
func lighten(order *v1alpha1.AcmeOrder) {
	order.ManagedFields, order.Spec.CSR, order.Spec.Finalization, order.Status.Certificate = nil, "", nil, ""
}

func newOrder(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "order NAME|SERIAL|FILE|DNS-NAME",
		Short: "Show an order as a tree of authorizations, challenges and validation records",
		Example: `  kubectl acme order b7m2k0p9u1
  kubectl acme order shop.example      # the newest order for that name
  kubectl acme order tls.crt`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.completing(completeOrders),
		RunE: o.run(func(ctx context.Context, args []string) error {
			order, err := o.order(ctx, args[0])
			if err != nil {
				return err
			}
			return o.showOrder(ctx, order)
		}),
	}
	o.addOutput(cmd, "json", "yaml")
	return cmd
}

// orderParts is an order with its account and authorizations.
type orderParts struct {
	Order          *v1alpha1.AcmeOrder           `json:"order"`
	Account        *v1alpha1.AcmeAccount         `json:"account"`
	Authorizations []*v1alpha1.AcmeAuthorization `json:"authorizations"`
}

func (o *options) showOrder(ctx context.Context, order *v1alpha1.AcmeOrder) error {
	authorizations, err := o.authorizationsOf(ctx, order)
	if err != nil {
		return err
	}
	account, err := get[v1alpha1.AcmeAccount](ctx, o, order.Spec.AccountRef.Name)
	if err != nil {
		return err
	}
	s := o.screen()
	if o.output == "" {
		view.OrderTree(order, authorizations, account, s).Write(s)
		return nil
	}
	for _, authz := range authorizations {
		if authz != nil {
			withoutManagers(authz)
		}
	}
	if account != nil {
		withoutManagers(account)
	}
	_, err = o.structured(orderParts{typed(order), account, authorizations})
	return err
}

func describeOrder(order *v1alpha1.AcmeOrder) string {
	return fmt.Sprintf("%s for %s", order.Name, view.Identifiers(order.Spec.Identifiers))
}
