package serial_test

import (
	"testing"

	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache/serial"
)

func order(namespace, name, serial string) *v1alpha1.AcmeOrder {
	o := &v1alpha1.AcmeOrder{}
	o.Namespace, o.Name, o.Status.Serial = namespace, name, serial
	return o
}

func TestIndex(t *testing.T) {
	var index serial.Index
	handler := index.Handler()
	expect := func(namespace, serial, want string) {
		t.Helper()
		if name, found := index.Find(namespace, serial); name != want || found != (want != "") {
			t.Errorf("Find(%q, %q) = %q, %v, not %q", namespace, serial, name, found, want)
		}
	}
	expect("a", "01", "")
	handler.OnAdd(order("a", "one", "01"), true)
	handler.OnAdd(order("a", "pending", ""), true)
	expect("a", "01", "one")
	expect("b", "01", "")
	expect("a", "", "")
	handler.OnUpdate(order("a", "pending", ""), order("a", "pending", "02"))
	expect("a", "02", "pending")
	handler.OnDelete(order("a", "another", "01")) // one that has not the name
	expect("a", "01", "one")
	handler.OnDelete(order("a", "one", "01"))
	expect("a", "01", "")
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: order("a", "pending", "02")})
	expect("a", "02", "")
	handler.OnDelete("nonsense")
}
