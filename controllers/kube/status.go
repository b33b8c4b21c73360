package kube

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// WriteStatus writes the changes in an object's status since base. It returns a conflict if the object has changed since it was
// read, so that each decision counts once.
func WriteStatus(ctx context.Context, c client.Client, object, base client.Object) error {
	if equality.Semantic.DeepEqual(statusOf(object), statusOf(base)) {
		return nil
	}
	if isWhole(base) {
		return c.Status().Update(ctx, object) // which costs the API server less than a patch
	}
	return c.Status().Patch(ctx, object, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// statusOf returns the status of an object. Comparing the specs of orders and authorizations too would take longer.
func statusOf(object client.Object) any {
	return reflect.ValueOf(object).Elem().FieldByName("Status").Addr().Interface()
}

// isWhole reports whether the cache holds an object's whole status. It leaves out the certificate of an order.
func isWhole(object client.Object) bool {
	order, ok := object.(*v1alpha1.AcmeOrder)
	return !ok || order.Status.Serial == ""
}

// MaxMessage bounds a condition's message in bytes.
const MaxMessage = 2048
