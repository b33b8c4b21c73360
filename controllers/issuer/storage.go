package issuer

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/budget"
)

// reportStorage sets the issuer's condition StoragePressure, from which the ACME server learns whether it may store more.
func (r *Reconciler) reportStorage(object *v1alpha1.AcmeIssuer) {
	if r.Budget == nil {
		meta.RemoveStatusCondition(&object.Status.Conditions, v1alpha1.ConditionStoragePressure)
		return
	}
	stored := r.Budget.Status(object.Namespace, object.Name)
	if stored.Uncounted && stored.Level < levelOf(storageCondition(object).Reason) {
		return // after a restart, the level that was counted before is more certain
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionStoragePressure, Status: metav1.ConditionTrue, Message: stored.Message,
		ObservedGeneration: object.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	switch stored.Level {
	case budget.Within:
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, v1alpha1.ReasonStorageWithinLimit, "there is room in etcd"
	case budget.Near:
		condition.Reason = v1alpha1.ReasonStorageNearLimit
	case budget.Reached:
		condition.Reason = v1alpha1.ReasonStorageLimitReached
	case budget.Exceeded:
		condition.Reason = v1alpha1.ReasonStorageLimitExceeded
	}
	meta.SetStatusCondition(&object.Status.Conditions, condition)
}

// levelOf returns the level of a condition's reason.
func levelOf(reason string) budget.Level {
	switch reason {
	case v1alpha1.ReasonStorageNearLimit:
		return budget.Near
	case v1alpha1.ReasonStorageLimitReached:
		return budget.Reached
	case v1alpha1.ReasonStorageLimitExceeded:
		return budget.Exceeded
	}
	return budget.Within
}

// announceStorage records an Event if the issuer comes nearer to its limit of stored bytes.
func (r *Reconciler) announceStorage(object, base *v1alpha1.AcmeIssuer) {
	now, before := storageCondition(object), storageCondition(base)
	if now.Status == metav1.ConditionTrue && now.Reason != before.Reason {
		r.Events.Eventf(object, nil, "Warning", now.Reason, "Reconcile", "%s", now.Message)
	}
}

func storageCondition(object *v1alpha1.AcmeIssuer) metav1.Condition {
	if found := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionStoragePressure); found != nil {
		return *found
	}
	return metav1.Condition{}
}
