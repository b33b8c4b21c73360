package issuers

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// A full list of compromised keys keeps only the orders with further compromised keys.
func TestFullListOfCompromisedKeys(t *testing.T) {
	var lines strings.Builder
	for i := range maxCompromisedKeys {
		fmt.Fprintf(&lines, "%064x\n", i)
	}
	key := client.ObjectKey{Namespace: "ns", Name: "ca"}
	full := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name + CompromisedKeysSuffix}, Data: map[string]string{CompromisedKeysField: lines.String()}}
	order := func(name string, reason ca.Reason, fingerprint string) *v1alpha1.AcmeOrder {
		o := &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Name: name}}
		o.Spec.Revocation, o.Status.KeyFingerprint, o.Status.RevokedAt = &v1alpha1.Revocation{Reason: int(reason)}, fingerprint, &metav1.Time{}
		return o
	}
	further := order("further", ca.KeyCompromise, fmt.Sprintf("%064x", maxCompromisedKeys))
	if further.CompromisedKey() == "" {
		t.Fatal("the order has no compromised key")
	}
	b := &CompromisedKeys{Client: fake.NewClientBuilder().WithObjects(full).Build()}
	stored, err := b.Keep(t.Context(), key, []*v1alpha1.AcmeOrder{
		order("superseded", ca.Superseded, fmt.Sprintf("%064x", maxCompromisedKeys+1)), further, order("known", ca.KeyCompromise, fmt.Sprintf("%064x", 1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(stored) != 2 || stored[0].Name != "superseded" || stored[1].Name != "known" {
		t.Errorf("may be deleted: %v", stored)
	}
	b.Forget(key)
	if len(b.known) != 0 {
		t.Error("a deleted issuer's keys stay in memory")
	}
}
