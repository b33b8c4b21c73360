package order

import (
	"context"
	"math/big"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/replaced"
)

// oneOrder is a reader of a single order, which counts what is asked of it.
type oneOrder struct {
	order       v1alpha1.AcmeOrder
	gets, lists int
	selector    fields.Selector // of the last list
}

func (r *oneOrder) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	r.gets++
	if key != client.ObjectKeyFromObject(&r.order) {
		return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("acmeorders").GroupResource(), key.Name)
	}
	r.order.DeepCopyInto(object.(*v1alpha1.AcmeOrder))
	return nil
}

func (r *oneOrder) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	r.lists++
	r.selector = (&client.ListOptions{}).ApplyOptions(options).FieldSelector
	list.(*v1alpha1.AcmeOrderList).Items = []v1alpha1.AcmeOrder{*r.order.DeepCopy()}
	return nil
}

// A serial number leads to its order, so that a renewal makes the API server compare no orders. Numbers of earlier versions need a list.
func TestReplacedOrdersAreReadByTheirSerialNumber(t *testing.T) {
	issuedAt := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	name := v1alpha1.NewObjectName(issuedAt)
	ofOrder, ok := acme.OrderSerial(name, 1)
	if !ok {
		t.Fatal("the order's name has no serial number")
	}
	for what, test := range map[string]struct {
		serial      *big.Int
		stored      string
		gets, lists int
		found       bool
	}{
		"of an order":           {ofOrder, name, 1, 0, true},
		"of a removed order":    {ofOrder, v1alpha1.NewObjectName(issuedAt), 1, 0, false},
		"of an earlier version": {big.NewInt(0x5a5e1ec7ed), name, 0, 1, true},
	} {
		t.Run(what, func(t *testing.T) {
			id := acme.NewCertID([]byte{1}, test.serial)
			live := &oneOrder{order: v1alpha1.AcmeOrder{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: test.stored},
				Status:     v1alpha1.AcmeOrderStatus{CertificateID: id.String()},
			}}
			renewal := &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "renewal"}}
			r := &Replacements{Live: live}
			for range 2 { // the answer is remembered
				replaced, err := r.certified(t.Context(), renewal, id)
				if err != nil || (replaced != nil) != test.found {
					t.Fatalf("replaced: %v, %v", replaced, err)
				}
			}
			if live.gets != test.gets || live.lists != test.lists {
				t.Errorf("%d gets and %d lists", live.gets, live.lists)
			}
		})
	}
}

// An account can have any number of invalid orders that replace its certificate, which would all be in memory.
func TestOnlyValidOrdersThatReplaceACertificateAreRead(t *testing.T) {
	live := &oneOrder{}
	live.order.UID, live.order.Status.State = "another", acme.StateValid
	renewal := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{Replaces: "a.b"}}
	taken, err := (&Replacements{Live: live}).taken(t.Context(), renewal)
	if err != nil || !taken {
		t.Errorf("%t, %v", taken, err)
	}
	for field, want := range map[string]string{"spec.replaces": "a.b", "status.state": "valid"} {
		if value, _ := live.selector.RequiresExactMatch(field); value != want {
			t.Errorf("the list selects %s %q, want %q", field, value, want)
		}
	}
}

// The cache may show an order as unfinished after its certificate was written. The order itself is then in the set of replaced certificates.
func TestFinishedRenewalsAreNotSearched(t *testing.T) {
	renewal := &v1alpha1.AcmeOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "renewal", UID: "renewal"},
		Spec:       v1alpha1.AcmeOrderSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, Replaces: "a.b"},
	}
	live := &oneOrder{order: *renewal.DeepCopy()}
	live.order.Status.State = acme.StateValid
	known := replaced.New()
	known.Note(&live.order)
	known.BeginWalk()
	known.EndWalk()
	taken, err := (&Replacements{Live: live, Known: known}).taken(t.Context(), renewal)
	if err != nil || taken || live.lists != 0 {
		t.Errorf("%t, %v, %d lists", taken, err, live.lists)
	}
}

// A leader whose Lease has expired issues for some seconds beside its successor, and its watch may be late.
func TestALeaderBesideAnotherOneAsksForReplacements(t *testing.T) {
	ofSuccessor := &oneOrder{}
	ofSuccessor.order.UID, ofSuccessor.order.Status.State = "another", acme.StateValid
	renewal := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{Replaces: "a.b"}}
	for leads, lists := range map[bool]int{true: 0, false: 1} {
		r := &Replacements{Live: ofSuccessor, Known: replaced.New(), Leads: func() bool { return leads }}
		r.Known.BeginWalk()
		r.Known.EndWalk()
		ofSuccessor.lists = 0
		if taken, err := r.reserve(t.Context(), renewal); err != nil || taken == leads || ofSuccessor.lists != lists {
			t.Errorf("leads %t: taken %t, %v, after %d lists", leads, taken, err, ofSuccessor.lists)
		}
	}
}
