package plugin

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

// countedToEnd is the limit of the count of orders in a state.
const countedToEnd = 10000

func newStatus(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show issuers, with CA expiry, CRL and orders by state",
		Example: `  kubectl acme status -A
  kubectl acme status -n acmeca-system -o wide`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ []string) error { return o.status(ctx, all) }),
	}
	addAllNamespaces(cmd, &all)
	o.addOutput(cmd, "wide", "json", "yaml")
	return cmd
}

func addAllNamespaces(cmd *cobra.Command, all *bool) {
	cmd.Flags().BoolVarP(all, "all-namespaces", "A", false, "use all namespaces")
}

// in selects the namespace, or all namespaces.
func (o *options) in(all bool) client.InNamespace {
	if all {
		return ""
	}
	return client.InNamespace(o.namespace)
}

func (o *options) status(ctx context.Context, all bool) error {
	p := o.progress("reading issuers")
	defer p.stop()
	st := view.Status{Issuers: []view.IssuerStatus{}, Orders: []view.OrderCounts{}}
	var namespaces []string
	visit := func(list *v1alpha1.AcmeIssuerList) bool {
		for i := range list.Items {
			issuer := &list.Items[i]
			st.Issuers = append(st.Issuers, view.IssuerStatusOf(issuer, o.crls(ctx, issuer)))
			namespaces = append(namespaces, issuer.Namespace)
		}
		return true
	}
	if err := pages(ctx, o.kube, visit, o.in(all)); err != nil {
		return err
	}
	slices.Sort(namespaces)
	p.set("counting orders")
	for _, namespace := range slices.Compact(namespaces) {
		counts, err := o.count(ctx, p, namespace)
		if err != nil {
			return err
		}
		st.Orders = append(st.Orders, counts)
	}
	if done, err := o.structured(st); done {
		return err
	}
	st.Write(o.screen(), o.output == "wide")
	return nil
}

// crls returns the CRL ConfigMaps of an issuer, or none if the user may not list them.
func (o *options) crls(ctx context.Context, issuer *v1alpha1.AcmeIssuer) []corev1.ConfigMap {
	var found corev1.ConfigMapList
	_ = o.kube.List(ctx, &found, client.InNamespace(issuer.Namespace),
		client.MatchingLabels{v1alpha1.IssuerLabel: issuer.Name}) // an error shows none
	return found.Items
}

// count counts a namespace's orders by state without reading them all. The API server reports the number of orders after the first. Orders
// in other states than valid are few: they are listed by state, with metadata alone.
func (o *options) count(ctx context.Context, p *progress, namespace string) (view.OrderCounts, error) {
	counts := view.OrderCounts{Namespace: namespace, ByState: map[acme.State]int{}, More: map[acme.State]bool{}}
	list, err := o.metadata(ctx, client.InNamespace(namespace), client.Limit(1))
	if err != nil {
		return counts, err
	}
	counts.Total = len(list.Items)
	if list.RemainingItemCount != nil {
		counts.Total += int(*list.RemainingItemCount)
	}
	for _, state := range []acme.State{acme.StatePending, acme.StateReady, acme.StateProcessing, acme.StateInvalid} {
		for token := ""; ; {
			list, err := o.metadata(ctx, client.InNamespace(namespace), client.MatchingFields{stateField: string(state)},
				client.Limit(leanPageSize), client.Continue(token))
			if err != nil {
				return counts, err
			}
			counts.ByState[state] += len(list.Items)
			p.add(len(list.Items), nil)
			if token = list.Continue; token == "" {
				break
			}
			if counts.ByState[state] >= countedToEnd {
				counts.More[state] = true
				break
			}
		}
	}
	return counts, nil
}

// metadata lists the metadata of orders.
func (o *options) metadata(ctx context.Context, opts ...client.ListOption) (*metav1.PartialObjectMetadataList, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeOrderList"))
	return list, o.kube.List(ctx, list, opts...)
}
