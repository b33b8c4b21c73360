package ordercache

import (
	"testing"

	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func orderWithSerial(namespace, name, serial string) *v1alpha1.AcmeOrder {
	o := &v1alpha1.AcmeOrder{}
	o.Namespace, o.Name, o.Status.Serial = namespace, name, serial
	return o
}

func TestSerialIndex(t *testing.T) {
	var index SerialIndex
	handler := index.Handler()
	expect := func(namespace, serial, want string) {
		t.Helper()
		if name, found := index.Find(namespace, serial); name != want || found != (want != "") {
			t.Errorf("Find(%q, %q) = %q, %v, not %q", namespace, serial, name, found, want)
		}
	}
	expect("a", "01", "")
	handler.OnAdd(orderWithSerial("a", "one", "01"), true)
	handler.OnAdd(orderWithSerial("a", "pending", ""), true)
	expect("a", "01", "one")
	expect("b", "01", "")
	expect("a", "", "")
	handler.OnUpdate(orderWithSerial("a", "pending", ""), orderWithSerial("a", "pending", "02"))
	expect("a", "02", "pending")
	handler.OnDelete(orderWithSerial("a", "another", "01")) // one that has not the name
	expect("a", "01", "one")
	handler.OnDelete(orderWithSerial("a", "one", "01"))
	expect("a", "01", "")
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: orderWithSerial("a", "pending", "02")})
	expect("a", "02", "")
	handler.OnDelete("nonsense")
}
