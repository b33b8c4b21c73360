package v1alpha1

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

func TestObjectNamesHoldTheirTimeAndSortByIt(t *testing.T) {
	var names []string
	for _, seconds := range []int64{0, 31, 32, 1 << 30, 1<<30 + 1, 1 << 34, 1<<35 - 1} {
		at := time.Unix(seconds, 999)
		name := NewObjectName(at)
		created, ok := CreatedFromName(name)
		if !ok || created.Unix() != seconds {
			t.Errorf("%s: %v, %t, want %d", name, created, ok, seconds)
		}
		if created, ok := CreatedFromName(OwnAuthorization(name, 12)); !ok || created.Unix() != seconds {
			t.Errorf("the own authorization of %s: %v, %t", name, created, ok)
		}
		names = append(names, name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}
	seen := map[string]bool{}
	for range 1000 {
		seen[NewObjectName(time.Unix(0, 0))] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different names of 1000", len(seen))
	}
}

// The serial number of a certificate leads to its order, whether a client or a Pod ordered it.
func TestOrderNamesHaveSerialNumbers(t *testing.T) {
	at := time.Unix(1<<32-1, 0)
	for _, name := range []string{NewObjectName(time.Now()), NewObjectName(at), PodOrderName("ca", "uid", at)} {
		serial, ok := acme.OrderSerial(name, 7)
		if order, leads := acme.OrderOfSerial(serial); !ok || !leads || order != name {
			t.Errorf("%s has the serial number %x, which leads to %s", name, serial, order)
		}
	}
}

func TestNamesWithoutATime(t *testing.T) {
	name := NewObjectName(time.Now())
	for _, other := range []string{
		"", "n1", name[1:], name + "0", name[:26] + "w", name[:26] + "-", strings.ToUpper(name), name[:20], name + "-x", name + "-01", name + "-1-1",
	} {
		if created, ok := CreatedFromName(other); ok {
			t.Errorf("%q has the time %v", other, created)
		}
	}
}

func TestCreatedAsNamed(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	name := NewObjectName(now)
	lifetimes := Lifetimes{Order: metav1.Duration{Duration: time.Hour}}
	for _, c := range []struct {
		name    string
		created time.Duration
		want    bool
	}{
		{name, 0, true},
		{name, MaxNameSkew, true},
		{name, -MaxNameSkew, true},
		{name, MaxNameSkew + time.Second, false},
		{name, -MaxNameSkew - time.Second, false},
		{OwnAuthorization(name, 0), time.Hour + MaxNameSkew, true},
		{OwnAuthorization(name, 0), time.Hour + MaxNameSkew + time.Second, false},
		{OwnAuthorization(name, 0), -MaxNameSkew - time.Second, false},
		{"made-before", 0, false},
		{"made-before-0", 0, false},
	} {
		authz := &AcmeAuthorization{}
		authz.Name, authz.CreationTimestamp = c.name, metav1.NewTime(now.Add(c.created))
		if authz.CreatedAsNamed(lifetimes) != c.want {
			t.Errorf("an authorization %s, created %v later, isn't %t", c.name, c.created, c.want)
		}
		if _, _, own := OwnerOfAuthorization(c.name); own {
			continue
		}
		order := &AcmeOrder{}
		order.Name, order.CreationTimestamp = authz.Name, authz.CreationTimestamp
		if order.CreatedAsNamed() != c.want {
			t.Errorf("an order %s, created %v later, isn't %t", c.name, c.created, c.want)
		}
	}
	own := &AcmeOrder{}
	own.Name, own.CreationTimestamp = OwnAuthorization(name, 0), metav1.NewTime(now)
	if own.CreatedAsNamed() {
		t.Error("an order has the name of an authorization")
	}
}
