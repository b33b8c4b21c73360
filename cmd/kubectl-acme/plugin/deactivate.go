package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// endPatch requests a deactivation by a person, without a client's signature.
const endPatch = `{"spec":{"deactivation":{"request":null}}}`

// endTimeout bounds the wait for the controllers.
const endTimeout = 30 * time.Second

func newDeactivate(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deactivate account/NAME|authorization/NAME",
		Short: "Deactivate an account or an authorization",
		Long: `Deactivate an account or an authorization. This cannot be undone.

Pending orders of the account fail. Its certificates stay valid until they are revoked. After an authorization is
deactivated, the client must prove control of the identifier again.`,
		Example: `  kubectl acme deactivate account/2p1qv8k4s7
  kubectl acme deactivate authorization/7d0s3m5c1u`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.completing(completeDeactivatable),
		RunE: o.run(func(ctx context.Context, args []string) error {
			kind, name, _ := strings.Cut(args[0], "/")
			switch kind {
			case "account", "acmeaccount":
				return o.endAccount(ctx, name)
			case "authorization", "authz", "acmeauthorization":
				return o.endAuthorization(ctx, name)
			}
			return fmt.Errorf("use account/NAME or authorization/NAME, not %q", args[0])
		}),
	}
	o.addYes(cmd)
	return cmd
}

func (o *options) endAccount(ctx context.Context, name string) error {
	account, err := get[v1alpha1.AcmeAccount](ctx, o, name)
	if err != nil {
		return err
	}
	if account == nil {
		return fmt.Errorf("no account %q in namespace %q", name, o.namespace)
	}
	if err := o.confirm(ctx, "Deactivate account %s (%s)? This cannot be undone.", name,
		strings.Join(account.Status.Contact, ", ")); err != nil {
		return err
	}
	return end(ctx, o, "account", account, func(a *v1alpha1.AcmeAccount) (acme.State, bool) { return a.Status.State, a.Status.State.Final() })
}

func (o *options) endAuthorization(ctx context.Context, name string) error {
	authz, err := get[v1alpha1.AcmeAuthorization](ctx, o, name)
	if err != nil {
		return err
	}
	if authz == nil {
		return fmt.Errorf("no authorization %q in namespace %q", name, o.namespace)
	}
	if err := o.confirm(ctx, "Deactivate authorization %s for %s? This cannot be undone.", name, authz.Authorized().Value); err != nil {
		return err
	}
	return end(ctx, o, "authorization", authz,
		func(a *v1alpha1.AcmeAuthorization) (acme.State, bool) { return a.Status.State, a.Status.State.Final() })
}

// end requests the deactivation of an object, and waits for it.
func end[O client.Object](ctx context.Context, o *options, kind string, object O, state func(O) (acme.State, bool)) error {
	if now, ended := state(object); ended {
		o.say(o.Out, "%s %s is already %s", kind, object.GetName(), now)
		return nil
	}
	if err := o.kube.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(endPatch)), client.FieldOwner(fieldManager)); err != nil {
		return err
	}
	err := await(ctx, o, object, endTimeout, "waiting for the controllers to deactivate "+object.GetName(), func(object O) (bool, error) {
		_, ended := state(object)
		return ended, nil
	})
	if err != nil {
		return err
	}
	now, _ := state(object)
	o.say(o.Out, "%s %s is %s", kind, object.GetName(), now)
	return nil
}
