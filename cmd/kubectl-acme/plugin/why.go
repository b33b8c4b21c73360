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
		Short: "Explain a failure in one paragraph, with advice",
		Long: `Explain a failure in one paragraph, with advice.

NAME is the name of an order, authorization, account or issuer, a serial number, a certificate file, or a DNS name or
address for which a client wants a certificate. To select one of several kinds with the same name, put the kind before
it: order/NAME, authorization/NAME, account/NAME, issuer/NAME. pod/NAME is a Pod with a podCertificate volume.`,
		Example: `  kubectl acme why shop.example
  kubectl acme why issuer/default
  kubectl acme why pod/web-0 -n shop`,
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

// why finds the object that a name stands for, and returns its diagnosis.
func (o *options) why(ctx context.Context, text string) (diagnose.Diagnosis, error) {
	kind, name, qualified := strings.Cut(text, "/")
	if kind == "pod" && qualified {
		return o.whyPod(ctx, name)
	}
	if !qualified || !slices.Contains([]string{"order", "authorization", "account", "issuer"}, kind) {
		kind, name = "", text
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
		return diagnose.Diagnosis{}, fmt.Errorf("no %s %q in namespace %q", kind, name, o.namespace)
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

// whyAccount diagnoses an account. A refused account was deleted; its Event remains.
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

// orderedBy returns the times of an account's orders that count for the rate limit.
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

// refusals returns the refused registrations of an issuer, or of all issuers for "", the newest first.
func (o *options) refusals(ctx context.Context, issuer string) []diagnose.Refusal {
	return o.events(ctx, client.MatchingFields{"reason": "RegistrationRefused"}, func(e *eventsv1.Event) bool {
		return e.Regarding.Kind == "AcmeAccount" && (issuer == "" || e.Related != nil && e.Related.Name == issuer)
	})
}

// events returns the selected Events of the namespace, the newest first, if the user may read Events.
func (o *options) events(ctx context.Context, fields client.MatchingFields, selects func(*eventsv1.Event) bool) []diagnose.Refusal {
	var found []diagnose.Refusal
	visit := func(list *eventsv1.EventList) bool {
		for i := range list.Items {
			e := &list.Items[i]
			if !selects(e) {
				continue
			}
			at := e.EventTime.Time
			if e.Series != nil {
				at = e.Series.LastObservedTime.Time
			}
			found = append(found, diagnose.Refusal{Time: at, Object: e.Regarding.Name, Reason: e.Reason, Note: e.Note})
		}
		return true
	}
	_ = pages(ctx, o.kube, visit, client.InNamespace(o.namespace), fields) // an error shortens the result
	slices.SortFunc(found, func(a, b diagnose.Refusal) int { return b.Time.Compare(a.Time) })
	return found
}

// facts reads the issuer and the account of an order or authorization.
func (o *options) facts(ctx context.Context, issuer, account string) (diagnose.Facts, error) {
	f := diagnose.Facts{Now: o.now()}
	var err error
	if f.Issuer, err = get[v1alpha1.AcmeIssuer](ctx, o, issuer); err != nil {
		return f, err
	}
	f.Account, err = get[v1alpha1.AcmeAccount](ctx, o, account)
	return f, err
}

// whyName diagnoses the newest order for a name. Without one it diagnoses the newest authorization, and else asks the issuers' policies.
func (o *options) whyName(ctx context.Context, name string) (diagnose.Diagnosis, error) {
	id, err := identifierOf(name)
	if err != nil {
		return diagnose.NoName(name, err), nil //nolint:nilerr // the error is the answer
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
	if err := o.kube.List(ctx, &authorizations, client.InNamespace(o.namespace),
		client.MatchingFields{"spec.identifier.value": strings.TrimPrefix(id.Value, "*.")}); err != nil {
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
