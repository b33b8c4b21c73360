package v1alpha1

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

func TestCompact(t *testing.T) {
	at := metav1.NewTime(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	full := func(state acme.State) *AcmeOrder {
		return &AcmeOrder{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "o", ManagedFields: []metav1.ManagedFieldsEntry{{}}},
			Spec: AcmeOrderSpec{
				IssuerRef: ObjectRef{Name: "i"}, Identifiers: []Identifier{{Type: acme.DNS, Value: "a.test"}}, CSR: "csr",
				Finalization: &Finalization{Request: SignedRequest{Protected: "p"}, Time: at},
			},
			Status: AcmeOrderStatus{
				State: state, Certificate: "certificate", Serial: "01", KeyFingerprint: "f", Expires: &at,
				Conditions: []metav1.Condition{{Type: ConditionReady}},
			},
		}
	}
	valid := full(acme.StateValid)
	valid.ManagedFields, valid.Spec.CSR, valid.Spec.Finalization = nil, "", &Finalization{Time: at}
	valid.Status.Certificate, valid.Status.KeyFingerprint, valid.Status.Expires, valid.Status.Conditions = "", "", nil, nil
	pending := full(acme.StatePending)
	pending.ManagedFields = nil
	compromised := valid.DeepCopy()
	compromised.Status.RevokedAt, compromised.Spec.Revocation, compromised.Status.KeyFingerprint = &at, &Revocation{Reason: 1}, "f"
	fullCompromised := full(acme.StateValid)
	fullCompromised.Status.RevokedAt, fullCompromised.Spec.Revocation = &at, &Revocation{Reason: 1}
	invalid := valid.DeepCopy()
	invalid.Status.State, invalid.Status.Expires = acme.StateInvalid, &at
	invalid.Status.Conditions = []metav1.Condition{{Type: ConditionReady}}
	for _, test := range []struct {
		name      string
		got, want *AcmeOrder
	}{
		{"of a finished order, what issued it goes", full(acme.StateValid), valid},
		{"of an order under way, all stays", full(acme.StatePending), pending},
		{"a compromised key is still known", fullCompromised, compromised},
		{"when an order failed is still known", full(acme.StateInvalid), invalid},
	} {
		test.got.Compact()
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
