package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patchStatus writes what changed in an object's status since base, unless another has changed the object in between:
// the resourceVersion makes each decision count once (the conflict is tried again on what is there then).
func patchStatus(ctx context.Context, c client.Client, object, base client.Object) error {
	if equality.Semantic.DeepEqual(object, base) {
		return nil
	}
	return c.Status().Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}
