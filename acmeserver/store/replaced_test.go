package store_test

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var ca = types.NamespacedName{Namespace: "ns", Name: "ca"}

func replacing(name, certificate string, state acme.State) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.UID, order.Spec.IssuerRef.Name = ca.Namespace, name, types.UID(name), ca.Name
	order.ResourceVersion, order.Spec.Replaces, order.Status.State = "1", certificate, state
	return order
}

// replacements compares the answers of a store with those that a test expects.
type replacements struct {
	*testing.T
	*storetest.Cluster
}

// expect checks whether a certificate is replaced, and how many lists the answer takes.
func (r replacements) expect(when, certificate string, want bool, lists int64) {
	r.Helper()
	before := r.Live.Lists.Load()
	got, err := r.IsReplaced(r.Context(), ca, certificate)
	if made := r.Live.Lists.Load() - before; err != nil || got != want || made != lists {
		r.Errorf("%s: %s is replaced: %v, %v, by %d lists", when, certificate, got, err, made)
	}
}

// The API server, which compares all stored orders, is asked about a certificate until the store has walked the orders.
func TestAReplacedCertificateIsFoundWithoutAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := replacements{t, storetest.New(t)}
		for i := range 1_100 { // more than two pages
			r.Live.Put(replacing("a"+strconv.Itoa(i), "certificate"+strconv.Itoa(i), acme.StateValid))
		}
		r.Live.Put(replacing("b", "other", acme.StateInvalid))
		r.Live.Put(replacing("c", "", acme.StateValid))
		r.expect("before the first list", "certificate1099", true, 1)
		r.expect("before the first list", "other", false, 1)
		r.Finished.Missed()
		time.Sleep(time.Minute)
		r.expect("after the walk", "certificate1099", true, 0)
		r.expect("after the walk", "other", false, 0)
		r.expect("after the walk", "", false, 0)

		r.Finish(replacing("d", "other", acme.StateValid))
		r.expect("after an event", "other", true, 0)
		r.Finished.Deleted(replacing("d", "other", acme.StateValid))
		r.expect("after the deletion", "other", false, 0)
	})
}

func TestAWalkThatFailsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := replacements{t, storetest.New(t)}
		r.Live.Put(replacing("a", "certificate", acme.StateValid))
		r.Live.Fail = func() error { return errors.New("down") }
		r.Finished.Missed()
		synctest.Wait()
		if _, err := r.IsReplaced(t.Context(), ca, "certificate"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("without the API server: %v", err)
		}
		r.Live.Fail = nil
		r.expect("before the retry", "certificate", true, 1)
		time.Sleep(time.Minute + time.Second)
		r.expect("after the retry", "certificate", true, 0)
	})
}
