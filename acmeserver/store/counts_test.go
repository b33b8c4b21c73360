package store

import (
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// sizeOf counts the accounts of c and their orders.
func sizeOf(c *orderCounts) int {
	size := len(c.byAccount)
	for _, counted := range c.byAccount {
		size += len(counted.creationTimes)
	}
	return size
}

// A client may register an account for each certificate. Their counts must not fill the memory, also if they have no orders any more.
func TestCountedAccountsAreBounded(t *testing.T) {
	c := newOrderCounts()
	for i := range maxCounted + 10 {
		account := types.NamespacedName{Namespace: "ns", Name: strconv.Itoa(i)}
		c.complete(account, c.begin(account, 0, 1), creationTimes{})
		if _, ok := c.times(account, 0, 1); !ok {
			t.Fatalf("account %d is not counted", i)
		}
	}
	if got := sizeOf(&c); got > maxCounted || got != c.size {
		t.Errorf("%d accounts and orders, of a size of %d", got, c.size)
	}
}

// The clients of an account may go on at another replica, so that nobody asks for its count here.
func TestOrdersAreCountedWithinABound(t *testing.T) {
	c := newOrderCounts()
	noted := func(account, order string) *v1alpha1.AcmeOrder {
		o := &v1alpha1.AcmeOrder{}
		o.Namespace, o.Name, o.Spec.AccountRef.Name = "ns", order, account
		return o
	}
	for i := range 4 {
		account := types.NamespacedName{Namespace: "ns", Name: strconv.Itoa(i)}
		c.complete(account, c.begin(account, 0, 1), creationTimes{"listed": 0})
	}
	for i := range maxCounted {
		c.note(noted(strconv.Itoa(i%4), strconv.Itoa(i)))
	}
	expect := func(when string, least int) {
		t.Helper()
		if got := sizeOf(&c); got > maxCounted || got < least || got != c.size {
			t.Errorf("%s: %d accounts and orders, of a size of %d", when, got, c.size)
		}
	}
	expect("noted", maxCounted/2)
	for i := range maxCounted {
		c.drop(noted(strconv.Itoa(i%4), strconv.Itoa(i)))
	}
	expect("dropped", 2)
}
