package plugin

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

const (
	// completionTimeout bounds the time of a completion, completions the number of names.
	completionTimeout = 3 * time.Second
	completions       = 200
)

// completer returns the candidates for a word.
type completer func(ctx context.Context, o *options) []string

// completing adapts a completer to cobra. Errors are dropped, since a prompt has no place for them.
func (o *options) completing(f completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || o.connect() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(contextOf(cmd)), completionTimeout)
		defer cancel()
		return f(ctx, o), cobra.ShellCompDirectiveNoFileComp
	}
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// complete registers the completer of a flag.
func (o *options) complete(cmd *cobra.Command, flag string, f completer) {
	of := o.completing(f)
	_ = cmd.RegisterFlagCompletionFunc(flag, // the flag exists
		func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return of(cmd, nil, word)
		})
}

func fixed(words ...string) completer {
	return func(context.Context, *options) []string { return words }
}

// names lists the names of objects, by their metadata alone.
func (o *options) names(ctx context.Context, kind schema.GroupVersionKind, opts ...client.ListOption) []string {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if err := o.kube.List(ctx, list, append(opts, client.Limit(completions))...); err != nil {
		return nil
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, view.Clean(item.Name))
	}
	return names
}

func (o *options) namesHere(ctx context.Context, kind string) []string {
	return o.names(ctx, v1alpha1.GroupVersion.WithKind(kind), client.InNamespace(o.namespace))
}

func completeIssuers(ctx context.Context, o *options) []string { return o.namesHere(ctx, "AcmeIssuer") }
func completeOrders(ctx context.Context, o *options) []string  { return o.namesHere(ctx, "AcmeOrder") }
func completeAccounts(ctx context.Context, o *options) []string {
	return o.namesHere(ctx, "AcmeAccount")
}

func completeNamespaces(ctx context.Context, o *options) []string {
	return o.names(ctx, corev1.SchemeGroupVersion.WithKind("Namespace"))
}

// completeAll completes the names that `why` accepts.
func completeAll(ctx context.Context, o *options) []string {
	var all []string
	for _, kind := range []string{"AcmeIssuer", "AcmeOrder", "AcmeAccount", "AcmeAuthorization"} {
		all = append(all, o.namesHere(ctx, kind)...)
	}
	return all
}

// completeDeactivatable completes the arguments of `deactivate`.
func completeDeactivatable(ctx context.Context, o *options) []string {
	var all []string
	for kind, prefix := range map[string]string{"AcmeAccount": "account/", "AcmeAuthorization": "authorization/"} {
		for _, name := range o.namesHere(ctx, kind) {
			all = append(all, prefix+name)
		}
	}
	return all
}
