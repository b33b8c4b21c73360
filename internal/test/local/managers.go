package local

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// policyPoll is the time between two checks of a policy that the API server does not apply yet.
const policyPoll = 200 * time.Millisecond

// DropFieldManagers applies config/managed-fields, and waits until the API server accepts orders again: until it has read the schema of
// their kind, it refuses them with 503, although the policy ignores failures. An earlier source tree has no such policy.
func (l *Local) DropFieldManagers(ctx context.Context) error {
	if l.options.Tree != "" {
		return nil
	}
	if err := l.plane.ApplyProject(ctx, "config/managed-fields/policy.yaml", "config/managed-fields/binding.yaml"); err != nil {
		return err
	}
	for {
		order := &v1alpha1.AcmeOrder{}
		order.Namespace, order.Name = Namespace, "tried"
		order.Spec.IssuerRef.Name, order.Spec.AccountRef.Name = "default", "nobody"
		order.Spec.Authorizations = []string{"tried-0"}
		order.Spec.Identifiers = []v1alpha1.Identifier{{Type: acme.DNS, Value: "tried.test"}}
		err := l.client.Create(ctx, order, client.DryRunAll)
		switch {
		case err == nil && len(order.ManagedFields) == 0:
			return nil
		case err != nil && !apierrors.IsServiceUnavailable(err):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("config/managed-fields does not apply: %w", err)
		case <-time.After(policyPoll):
		}
	}
}
