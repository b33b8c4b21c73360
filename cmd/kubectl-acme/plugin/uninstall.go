package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

type uninstall struct {
	all, force bool
	timeout    time.Duration
}

func newUninstall(o *options) *cobra.Command {
	u := &uninstall{}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Delete the issuers of a namespace, so that acmeca and the namespace can be removed",
		Long: `Delete the issuers of a namespace, so that acmeca and the namespace can be removed.

The controllers publish the last CRLs of a deleted issuer, and remove its finalizer and those of its orders. Run this command
before helm uninstall or make undeploy. If acmeca is gone already, --force removes the finalizers instead of the controllers.
Without them, the last CRLs aren't published, and a revocation that no CRL lists yet is lost.

Accounts, orders, Secrets and ConfigMaps stay, until the namespace is deleted.`,
		Example: `  kubectl acme uninstall -A
  kubectl acme uninstall -n acmeca-system --force`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ []string) error { return o.uninstall(ctx, u) }),
	}
	addAllNamespaces(cmd, &u.all)
	cmd.Flags().BoolVar(&u.force, "force", false, "remove the finalizers that controllers have left after --timeout")
	cmd.Flags().DurationVar(&u.timeout, "timeout", endTimeout, "`time` that the controllers have")
	o.addYes(cmd)
	return cmd
}

func (o *options) uninstall(ctx context.Context, u *uninstall) error {
	namespace := o.namespace
	if u.all {
		namespace = ""
	}
	held, err := o.held(ctx, namespace)
	if err != nil {
		return err
	}
	if len(held) == 0 {
		o.say(o.Out, "no issuer, and no order with a finalizer")
		return nil
	}
	issuers := 0
	for _, object := range held {
		if _, ok := object.(*v1alpha1.AcmeIssuer); ok {
			issuers++
		}
	}
	if err := o.confirm(ctx, "Delete %d issuers? They issue nothing from then on.", issuers); err != nil {
		return err
	}
	for _, object := range held {
		if _, ok := object.(*v1alpha1.AcmeIssuer); ok {
			if err := client.IgnoreNotFound(o.kube.Delete(ctx, object)); err != nil {
				return err
			}
		}
	}
	left, err := o.awaitReleased(ctx, namespace, u.timeout)
	if err != nil {
		return err
	}
	if len(left) > 0 && !u.force {
		return fmt.Errorf("%d objects still have a finalizer after %s, such as %s: if no controllers run, use --force", len(left), u.timeout, describe(left[0]))
	}
	for _, object := range left {
		if err := o.release(ctx, object); err != nil {
			return err
		}
		o.say(o.Out, "%s: the finalizer is removed without the controllers", describe(object))
	}
	o.say(o.Out, "%d issuers are deleted", issuers)
	return nil
}

// awaitReleased waits until the controllers have released all objects, and returns those that they have not.
func (o *options) awaitReleased(ctx context.Context, namespace string, limit time.Duration) ([]client.Object, error) {
	p := o.progress("waiting for the controllers to publish the last CRLs")
	defer p.stop()
	deadline := time.After(limit)
	for {
		left, err := o.held(ctx, namespace)
		if err != nil || len(left) == 0 {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("canceled; the issuers are being deleted")
		case <-deadline:
			return left, nil
		case <-time.After(waitEvery):
		}
	}
}

// held returns the issuers, and the orders with a finalizer.
func (o *options) held(ctx context.Context, namespace string) ([]client.Object, error) {
	var held []client.Object
	var issuers v1alpha1.AcmeIssuerList
	if err := o.kube.List(ctx, &issuers, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for i := range issuers.Items {
		held = append(held, &issuers.Items[i])
	}
	orders := &v1alpha1.AcmeOrderList{}
	for more := true; more; more = orders.Continue != "" {
		next := orders.Continue
		orders = &v1alpha1.AcmeOrderList{}
		if err := o.kube.List(ctx, orders, client.InNamespace(namespace), client.Limit(500), client.Continue(next)); err != nil {
			return nil, err
		}
		for i := range orders.Items {
			if controllerutil.ContainsFinalizer(&orders.Items[i], v1alpha1.RevocationFinalizer) {
				held = append(held, &orders.Items[i])
			}
		}
	}
	return held, nil
}

// release removes the finalizer of the controllers.
func (o *options) release(ctx context.Context, object client.Object) error {
	base := object.DeepCopyObject().(client.Object)
	controllerutil.RemoveFinalizer(object, finalizerOf(object))
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	return client.IgnoreNotFound(o.kube.Patch(ctx, object, patch, client.FieldOwner(fieldManager)))
}

func finalizerOf(object client.Object) string {
	if _, ok := object.(*v1alpha1.AcmeIssuer); ok {
		return v1alpha1.IssuerFinalizer
	}
	return v1alpha1.RevocationFinalizer
}

func describe(object client.Object) string {
	kind := "order"
	if _, ok := object.(*v1alpha1.AcmeIssuer); ok {
		kind = "issuer"
	}
	return fmt.Sprintf("%s %s in namespace %s", kind, object.GetName(), object.GetNamespace())
}
