package kube

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// WriteStatus writes what changed in an object's status since base, unless another has changed the object in between:
// the resourceVersion makes each decision count once (the conflict is tried again on what is there then).
func WriteStatus(ctx context.Context, c client.Client, object, base client.Object) error {
	if equality.Semantic.DeepEqual(statusOf(object), statusOf(base)) {
		return nil
	}
	if isWhole(base) {
		return c.Status().Update(ctx, object) // which costs the API server less than a patch
	}
	return c.Status().Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// statusOf is an object's status alone: a comparison of all that an order or authorization asks for takes longer than of what was
// decided of it.
func statusOf(object client.Object) any {
	return reflect.ValueOf(object).Elem().FieldByName("Status").Addr().Interface()
}

// isWhole reports whether the cache has all of an object's status: of an order, it leaves out the certificate.
func isWhole(object client.Object) bool {
	order, ok := object.(*v1alpha1.AcmeOrder)
	return !ok || order.Status.Serial == ""
}

// MaxMessage bounds a condition's message in bytes.
const MaxMessage = 2048
