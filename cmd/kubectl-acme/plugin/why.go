package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/diagnose"
)

func newWhy(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why NAME",
		Short: "Say in one paragraph what failed and what to do",
		Long: `Say in one paragraph what failed and what to do.

NAME is that of an order, an authorization, an account or an issuer, a serial number, a certificate's file, or a DNS
name or address that a client wants a certificate for. Where several kinds have an object of that name, write the kind
before it: order/NAME, authorization/NAME, account/NAME, issuer/NAME.`,
		Example: `  kubectl acme why shop.example
  kubectl acme why issuer/default`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.completing(completeAll),
		RunE: o.run(func(ctx context.Context, args []string) error {
			d, err := o.why(ctx, args[0])
			if err != nil {
				return err
			}
			if done, err := o.structured(d); done {
				return err
			}
			o.say(o.Out, "%s", d.Paragraph())
			return nil
		}),
	}
	o.addOutput(cmd, "json", "yaml")
	return cmd
}

// why finds what a name stands for, and what is to be said of it.
func (o *options) why(ctx context.Context, what string) (diagnose.Diagnosis, error) {
	kind, name, qualified := strings.Cut(what, "/")
	if !qualified || !slices.Contains([]string{"order", "authorization", "account", "issuer"}, kind) {
		kind, name = "", what
	}
	for _, find := range []struct {
		kind string
		why  func(context.Context, string) (*diagnose.Diagnosis, error)
	}{
		{"order", o.whyOrder}, {"authorization", o.whyAuthorization}, {"account", o.whyAccount}, {"issuer", o.whyIssuer},
	} {
		if kind != "" && kind != find.kind {
			continue
		}
		if d, err := find.why(ctx, name); err != nil || d != nil {
			return deref(d), err
		}
	}
	if kind != "" {
		return diagnose.Diagnosis{}, fmt.Errorf("there is no %s %q in namespace %q", kind, name, o.namespace)
	}
	if serial, err := serialOf(name); err != nil || serial != "" || !isIdentifier(name) {
		order, err := o.order(ctx, name)
		if err != nil {
			return diagnose.Diagnosis{}, err
		}
		d, err := o.whyThisOrder(ctx, order)
		return deref(d), err
	}
	return o.whyName(ctx, name)
}

func deref(d *diagnose.Diagnosis) diagnose.Diagnosis {
	if d == nil {
		return diagnose.Diagnosis{}
	}
	return *d
}

func (o *options) whyOrder(ctx context.Context, name string) (*diagnose.Diagnosis, error) {
	order, err := get[v1alpha1.AcmeOrder](ctx, o, name)
	if err != nil || order == nil {
		return nil, err
	}
	return o.whyThisOrder(ctx, order)
}

func (o *options) whyThisOrder(ctx context.Context, order *v1alpha1.AcmeOrder) (*diagnose.Diagnosis, error) {
	f, err := o.facts(ctx, order.Spec.IssuerRef.Name, order.Spec.AccountRef.Name)
	if err != nil {
		return nil, err
	}
	f.Order = order
	if f.Authorizations, err = o.authorizationsOf(ctx, order); err != nil {
		return nil, err
	}
	d := diagnose.Order(f)
	return &d, nil
}

func (o *options) whyAuthorization(ctx context.Context, name string) (*diagnose.Diagnosis, error) {
	authz, err := o.authorization(ctx, name)
	if err != nil || authz == nil {
		return nil, err
	}
	return o.whyThisAuthorization(ctx, authz)
}

func (o *options) whyThisAuthorization(ctx context.Context, authz *v1alpha1.AcmeAuthorization) (*diagnose.Diagnosis, error) {
	f, err := o.facts(ctx, authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name)
	if err != nil {
		return nil, err
	}
	f.Authorizations = []*v1alpha1.AcmeAuthorization{authz}
	d := diagnose.Authorization(f)
	return &d, nil
}

// whyAccount tells of an account, also of one that was refused and is gone, of which an Event remains.
func (o *options) whyAccount(ctx context.Context, name string) (*diagnose.Diagnosis, error) {
	account, err := get[v1alpha1.AcmeAccount](ctx, o, name)
	if err != nil {
		return nil, err
	}
	if account == nil {
		for _, refusal := range o.refusals(ctx, "") {
			if refusal.Object == name {
				d := diagnose.Refused(refusal)
				return &d, nil
			}
		}
		return nil, nil
	}
	f, err := o.facts(ctx, account.Spec.IssuerRef.Name, name)
	if err != nil {
		return nil, err
	}
	if f.Issuer != nil && f.Issuer.Spec.RateLimits.NewOrders != nil {
		if f.Ordered, err = o.orderedBy(ctx, name); err != nil {
			return nil, err
		}
	}
	d := diagnose.Account(f)
	return &d, nil
}

// orderedBy is when an account made its orders, but for those that are free of limits.
func (o *options) orderedBy(ctx context.Context, account string) ([]time.Time, error) {
	var made []time.Time
	visit := func(list *v1alpha1.AcmeOrderList) bool {
		for _, order := range list.Items {
			if order.Spec.Replaces == "" {
				made = append(made, order.CreationTimestamp.Time)
			}
		}
		return true
	}
	return made, pages(ctx, o.kube, visit, client.InNamespace(o.namespace), client.MatchingFields{"spec.accountRef.name": account})
}

func (o *options) whyIssuer(ctx context.Context, name string) (*diagnose.Diagnosis, error) {
	issuer, err := get[v1alpha1.AcmeIssuer](ctx, o, name)
	if err != nil || issuer == nil {
		return nil, err
	}
	f := diagnose.Facts{Now: o.now(), Issuer: issuer, Refusals: o.refusals(ctx, name)}
	d := diagnose.Issuer(f)
	return &d, nil
}

// refusals are the Events about registrations that an issuer refused, or any for "", as far as the person may read them.
func (o *options) refusals(ctx context.Context, issuer string) []diagnose.Refusal {
	var refusals []diagnose.Refusal
	visit := func(list *eventsv1.EventList) bool {
		for _, e := range list.Items {
			if e.Regarding.Kind != "AcmeAccount" || issuer != "" && (e.Related == nil || e.Related.Name != issuer) {
				continue
			}
			at := e.EventTime.Time
			if e.Series != nil {
				at = e.Series.LastObservedTime.Time
			}
			refusals = append(refusals, diagnose.Refusal{Time: at, Object: e.Regarding.Name, Reason: e.Reason, Note: e.Note})
		}
		return true
	}
	_ = pages(ctx, o.kube, visit, client.InNamespace(o.namespace), client.MatchingFields{"reason": "RegistrationRefused"}) // what is there is told
	slices.SortFunc(refusals, func(a, b diagnose.Refusal) int { return b.Time.Compare(a.Time) })
	return refusals
}

// facts fetches what stands above an order or authorization.
func (o *options) facts(ctx context.Context, issuer, account string) (diagnose.Facts, error) {
	f := diagnose.Facts{Now: o.now()}
	var err error
	if f.Issuer, err = get[v1alpha1.AcmeIssuer](ctx, o, issuer); err != nil {
		return f, err
	}
	f.Account, err = get[v1alpha1.AcmeAccount](ctx, o, account)
	return f, err
}

// whyName tells of the newest order for a name, or of its newest authorization, or what the issuers say to it.
func (o *options) whyName(ctx context.Context, name string) (diagnose.Diagnosis, error) {
	id, err := identifierOf(name)
	if err != nil {
		return diagnose.NoName(name, err), nil //nolint:nilerr // it is the answer
	}
	orders, err := o.ordersFor(ctx, false, id.Value, nil)
	if err != nil {
		return diagnose.Diagnosis{}, err
	}
	if len(orders) > 0 {
		d, err := o.whyThisOrder(ctx, &orders[0])
		return deref(d), err
	}
	var authorizations v1alpha1.AcmeAuthorizationList
	if err := o.kube.List(ctx, &authorizations, client.InNamespace(o.namespace), client.MatchingFields{"spec.identifier.value": strings.TrimPrefix(id.Value, "*.")}); err != nil {
		return diagnose.Diagnosis{}, err
	}
	if all := authorizations.Items; len(all) > 0 {
		newest := slices.MaxFunc(all, func(a, b v1alpha1.AcmeAuthorization) int {
			return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		})
		d, err := o.whyThisAuthorization(ctx, &newest)
		return deref(d), err
	}
	var issuers v1alpha1.AcmeIssuerList
	if err := o.kube.List(ctx, &issuers, client.InNamespace(o.namespace)); err != nil {
		return diagnose.Diagnosis{}, err
	}
	return diagnose.Name(id.Value, issuers.Items), nil
}
