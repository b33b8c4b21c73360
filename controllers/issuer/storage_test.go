package issuer

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/budget"
)

func TestStorageCondition(t *testing.T) {
	recorder := events.NewFakeRecorder(8)
	r := &Reconciler{Budget: budget.New(budget.Limits{Issuer: 100 << 20}), Clock: clocktesting.NewFakePassiveClock(time.Unix(1000, 0)), Events: recorder}
	object := &v1alpha1.AcmeIssuer{}
	object.Namespace, object.Name = "a", "ca"
	for _, step := range []struct {
		add    int64 // MiB
		status string
		reason string
		events int
	}{
		{10, "False", "WithinLimit", 0},
		{75, "True", "NearLimit", 1},
		{1, "True", "NearLimit", 0},
		{20, "True", "LimitReached", 1},
		{20, "True", "LimitExceeded", 1},
		{-100, "False", "WithinLimit", 0},
	} {
		r.Budget.Add("AcmeOrder", map[types.NamespacedName]int64{{Namespace: "a", Name: "ca"}: step.add << 20})
		base := object.DeepCopy()
		r.reportStorage(object)
		r.announceStorage(object, base)
		got := storageCondition(object)
		if string(got.Status) != step.status || got.Reason != step.reason || got.Message == "" || len(recorder.Events) != step.events {
			t.Errorf("%+d MiB: %+v, %d events", step.add, got, len(recorder.Events))
		}
		for range len(recorder.Events) {
			<-recorder.Events
		}
	}
	r.Budget = nil
	r.reportStorage(object)
	if len(object.Status.Conditions) > 0 {
		t.Errorf("without a budget: %v", object.Status.Conditions)
	}
}

// After a restart, an issuer keeps the level that was counted before, until all is counted.
func TestStorageConditionAfterARestart(t *testing.T) {
	r := &Reconciler{Budget: budget.New(budget.Limits{Issuer: 100 << 20}), Clock: clocktesting.NewFakePassiveClock(time.Unix(1000, 0))}
	object := &v1alpha1.AcmeIssuer{}
	object.Namespace, object.Name = "a", "ca"
	add := func(mib int64) {
		r.Budget.Add("AcmeOrder", map[types.NamespacedName]int64{{Namespace: "a", Name: "ca"}: mib << 20})
	}
	expect := func(when, reason string) {
		t.Helper()
		if r.reportStorage(object); storageCondition(object).Reason != reason {
			t.Errorf("%s: %+v", when, storageCondition(object))
		}
	}
	add(101)
	expect("before the restart", "LimitReached")
	r.Budget = budget.New(budget.Limits{Issuer: 100 << 20})
	r.Budget.Expect(0, false)
	expect("at the start", "LimitReached")
	add(85)
	expect("while objects are counted", "LimitReached")
	add(30)
	expect("when more than before is counted", "LimitExceeded")
	add(-30)
	r.Budget.Expect(0, true)
	expect("when all is counted", "NearLimit")
}
