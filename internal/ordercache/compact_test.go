package ordercache

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestCompact(t *testing.T) {
	at := metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	full := func(state acme.State) *v1alpha1.AcmeOrder {
		return &v1alpha1.AcmeOrder{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "o", ManagedFields: []metav1.ManagedFieldsEntry{{}}},
			Spec: v1alpha1.AcmeOrderSpec{
				IssuerRef: v1alpha1.ObjectRef{Name: "i"}, Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}}, CSR: "csr",
				Finalization: &v1alpha1.Finalization{Request: v1alpha1.SignedRequest{Protected: "p"}, Time: at},
			},
			Status: v1alpha1.AcmeOrderStatus{
				State: state, Certificate: "certificate", Chain: "chain", Serial: "01", KeyFingerprint: "f", Expires: &at,
				Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}},
			},
		}
	}
	valid := full(acme.StateValid)
	valid.ManagedFields, valid.Spec.CSR, valid.Spec.Finalization = nil, "", &v1alpha1.Finalization{Time: at}
	valid.Status.Certificate, valid.Status.Chain, valid.Status.KeyFingerprint, valid.Status.Expires, valid.Status.Conditions = "", "", "", nil, nil
	pending := full(acme.StatePending)
	pending.ManagedFields = nil
	compromised := valid.DeepCopy()
	compromised.Status.RevokedAt, compromised.Spec.Revocation, compromised.Status.KeyFingerprint = &at, &v1alpha1.Revocation{Reason: 1}, "f"
	fullCompromised := full(acme.StateValid)
	fullCompromised.Status.RevokedAt, fullCompromised.Spec.Revocation = &at, &v1alpha1.Revocation{Reason: 1}
	invalid := valid.DeepCopy()
	invalid.Status.State, invalid.Status.Expires = acme.StateInvalid, &at
	invalid.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady}}
	for _, test := range []struct {
		name      string
		got, want *v1alpha1.AcmeOrder
	}{
		{"a finished order loses its request and certificate", full(acme.StateValid), valid},
		{"an unfinished order keeps all but managed fields", full(acme.StatePending), pending},
		{"a compromised key keeps its fingerprint", fullCompromised, compromised},
		{"a failed order keeps its condition and expiry", full(acme.StateInvalid), invalid},
	} {
		Compact(test.got)
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// finished returns an order with a certificate, as caches hold it.
func finished() *v1alpha1.AcmeOrder {
	at := metav1.Unix(1_800_000_000, 0)
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name = "n", "o"
	order.Spec.Finalization = &v1alpha1.Finalization{Time: at}
	order.Status = v1alpha1.AcmeOrderStatus{State: acme.StateValid, Serial: "01", NotBefore: &at, NotAfter: &at}
	return order
}

// A list is compacted page by page, and its orders are compacted again when the informer stores them.
func TestCompactRunsOnce(t *testing.T) {
	order := finished()
	order.Status.Certificate, order.ManagedFields = "certificate", []metav1.ManagedFieldsEntry{{}}
	if isCompact(order) {
		t.Error("an order with its certificate counts as compact")
	}
	Compact(order)
	if !isCompact(order) {
		t.Errorf("after Compact: %+v", order)
	}
	if allocs := testing.AllocsPerRun(10, func() { Compact(order) }); allocs != 0 {
		t.Errorf("Compact allocates %v times for a compact order", allocs)
	}
	for name, change := range map[string]func(*v1alpha1.AcmeOrder){
		"a pending order":            func(o *v1alpha1.AcmeOrder) { o.Status.State = acme.StatePending },
		"an order with its CSR":      func(o *v1alpha1.AcmeOrder) { o.Spec.CSR = "csr" },
		"an order with its type":     func(o *v1alpha1.AcmeOrder) { o.Kind = "AcmeOrder" },
		"an order with a condition":  func(o *v1alpha1.AcmeOrder) { o.Status.Conditions = []metav1.Condition{{}} },
		"an order with its expiry":   func(o *v1alpha1.AcmeOrder) { o.Status.Expires = o.Status.NotAfter },
		"an order with its request":  func(o *v1alpha1.AcmeOrder) { o.Spec.Finalization.Request.Payload = "p" },
		"an order with its managers": func(o *v1alpha1.AcmeOrder) { o.ManagedFields = []metav1.ManagedFieldsEntry{{}} },
	} {
		order := finished()
		change(order)
		if isCompact(order) {
			t.Errorf("%s counts as compact", name)
		}
	}
}
