package store_test

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func account(name string) *v1alpha1.AcmeAccount {
	a := &v1alpha1.AcmeAccount{}
	a.Namespace, a.Name, a.Spec.IssuerRef.Name = "ns", name, "ca"
	return a
}

// made is an order that a test draws. It counts unless it is exempt.
type made struct {
	*v1alpha1.AcmeOrder
	renewal bool
}

// Whatever happens to orders, those of an account since a time are counted, without the exempt ones; a lost watch included.
func TestOrdersAreCounted(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	rapid.Check(t, func(rt *rapid.T) {
		cluster := storetest.New(t)
		orders, version := []*made{}, 0
		deliver := func(o *made, heard bool) {
			version++
			o.ResourceVersion = strconv.Itoa(version)
			switch {
			case !heard:
				cluster.Live.Put(o.AcmeOrder)
			case o.Finished():
				cluster.Finish(o.AcmeOrder)
			default:
				cluster.Deliver(o.AcmeOrder)
			}
		}
		now := begin
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 30).Draw(rt, "seconds")) * time.Second)
				o := &made{&v1alpha1.AcmeOrder{}, rapid.Bool().Draw(rt, "renewal")}
				o.Namespace, o.Name, o.UID = "ns", "o"+strconv.Itoa(len(orders)), types.UID(strconv.Itoa(len(orders)))
				o.Spec.AccountRef.Name, o.Spec.IssuerRef.Name = rapid.SampledFrom([]string{"me", "you"}).Draw(rt, "account"), "ca"
				o.CreationTimestamp, o.Status.State = metav1.NewTime(now), acme.StatePending
				if o.renewal {
					o.Annotations = map[string]string{store.RenewalAnnotation: "true"}
				}
				orders = append(orders, o)
				deliver(o, true)
			},
			"finish": func(rt *rapid.T) {
				i := slices.IndexFunc(orders, func(o *made) bool { return !o.Finished() })
				if i < 0 {
					rt.Skip()
				}
				orders[i].AcmeOrder = orders[i].DeepCopy()
				orders[i].Status.State = rapid.SampledFrom([]acme.State{acme.StateValid, acme.StateInvalid}).Draw(rt, "state")
				heard := rapid.Bool().Draw(rt, "heard")
				if deliver(orders[i], heard); !heard {
					cluster.Finished.Missed()
				}
			},
			"": func(rt *rapid.T) {
				for _, name := range []string{"me", "you"} {
					since := now.Add(-time.Duration(rapid.IntRange(0, 300).Draw(rt, "since")) * time.Second)
					got, err := cluster.OrderTimes(t.Context(), account(name), since)
					if err != nil {
						rt.Fatal(err)
					}
					var want []time.Time
					for _, o := range orders {
						exempt := o.renewal && o.Status.State != acme.StateInvalid
						if o.Spec.AccountRef.Name == name && !exempt && !o.CreationTimestamp.Time.Before(since) {
							want = append(want, o.CreationTimestamp.Time)
						}
					}
					if slices.SortFunc(got, time.Time.Compare); !slices.EqualFunc(got, want, time.Time.Equal) {
						rt.Fatalf("%s since %s: %v, want %v", name, since, got, want)
					}
				}
			},
		})
	})
}

// The API server is asked once for the orders of an account, and again when a longer time counts.
func TestOrdersOfAnAccountAreListedOnce(t *testing.T) {
	cluster := storetest.New(t)
	now := time.Unix(1_000_000, 0)
	for _, step := range []struct {
		ago   time.Duration
		lists int64
	}{{time.Hour, 2}, {time.Hour, 2}, {time.Minute, 2}, {time.Hour, 4}} {
		if _, err := cluster.OrderTimes(t.Context(), account("me"), now.Add(-step.ago)); err != nil || cluster.Live.Lists.Load() != step.lists {
			t.Errorf("since %s: %v, %d lists, want %d", step.ago, err, cluster.Live.Lists.Load(), step.lists)
		}
	}
	cluster.Live.Fail = func() error { return errors.New("down") }
	for range 2 {
		if times, err := cluster.OrderTimes(t.Context(), account("you"), now); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("without the API server: %v, %v", times, err)
		}
	}
}

// Authorizations without an order count as orders.
func TestPreAuthorizationsAreCounted(t *testing.T) {
	cluster, now := storetest.New(t), time.Unix(10000, 0)
	var last *v1alpha1.AcmeAuthorization
	for name, ago := range map[string]time.Duration{"new": time.Minute, "old": 2 * time.Hour, "of an order": 0} {
		authz := &v1alpha1.AcmeAuthorization{}
		authz.Namespace, authz.Name, authz.UID, authz.Spec.AccountRef.Name = "ns", name, types.UID(name), "me"
		authz.Spec.PreAuthorization, authz.CreationTimestamp = ago > 0, metav1.NewTime(now.Add(-ago))
		cluster.Deliver(authz)
		if name == "new" {
			last = authz
		}
	}
	count := func() int {
		times, err := cluster.OrderTimes(t.Context(), account("me"), now.Add(-time.Hour))
		if err != nil {
			t.Error(err)
		}
		return len(times)
	}
	if got := count(); got != 1 {
		t.Errorf("%d are counted, want 1", got)
	}
	cluster.Remove(last)
	if got := count(); got != 0 {
		t.Errorf("%d are counted after it is removed", got)
	}
}

// Certificates of earlier versions have serial numbers that do not lead to their orders.
func TestOldSerialNumbersLeadToOrders(t *testing.T) {
	cluster := storetest.New(t)
	issuer := types.NamespacedName{Namespace: "ns", Name: "ca"}
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.ResourceVersion, order.Spec.IssuerRef.Name = "ns", "o", "1", "ca"
	order.Status.State, order.Status.Serial = acme.StateValid, v1alpha1.SerialText(big.NewInt(0xabc))
	cluster.Finish(order)
	if found, err := cluster.OrderWithSerial(t.Context(), issuer, big.NewInt(0xabc)); err != nil || found.Name != "o" {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := cluster.OrderWithSerial(t.Context(), issuer, big.NewInt(0xabd)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown one: %v, %v", found, err)
	}
	issuer.Name = "another"
	if found, err := cluster.OrderWithSerial(t.Context(), issuer, big.NewInt(0xabc)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("at another issuer: %v, %v", found, err)
	}
}

// Anyone can ask about a serial number that leads to no order. The API server compares all orders for each, so it is asked seldom.
func TestListsByOldSerialNumbersArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.New(t)
		ask := func(number int64) error {
			_, err := cluster.OrderWithSerial(t.Context(), types.NamespacedName{Namespace: "ns", Name: "ca"}, big.NewInt(number))
			return err
		}
		for i := range int64(10) {
			if err := ask(i); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		for i := range int64(100) {
			if err := ask(i); !errors.Is(err, store.ErrBusy) {
				t.Errorf("request %d after the others: %v", i, err)
			}
		}
		time.Sleep(time.Second)
		if err := ask(0); !errors.Is(err, store.ErrNotFound) || cluster.Live.Lists.Load() != 11 {
			t.Errorf("after a second: %v, %d lists", err, cluster.Live.Lists.Load())
		}
	})
}

// A client can make lists of orders last for seconds, by a place with a version of the future. Renewals do not wait for them.
func TestListsOfAnAccountDoNotDelayRenewals(t *testing.T) {
	expectRenewalBeside(t, "ns", 5, func(ctx context.Context, cluster *storetest.Cluster, _ int) {
		_, _, _ = cluster.OrdersOf(ctx, account("me"), "bw", 100)
	})
}

// One tenant's accounts can make any number of lists after a start. The renewals of another tenant do not wait for them.
func TestListsOfATenantDoNotDelayOthers(t *testing.T) {
	expectRenewalBeside(t, "another", 100, func(ctx context.Context, cluster *storetest.Cluster, i int) {
		_, _ = cluster.OrderTimes(ctx, account(strconv.Itoa(i)), time.Now())
	})
}

// expectRenewalBeside checks that a renewal in a namespace is answered while a number of lists last.
func expectRenewalBeside(
	t *testing.T, namespace string, number int, list func(ctx context.Context, cluster *storetest.Cluster, i int),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.New(t)
		slow, proceed := atomic.Bool{}, make(chan struct{})
		slow.Store(true)
		cluster.Live.Fail = func() error {
			if slow.Load() {
				<-proceed
			}
			return nil
		}
		var lists sync.WaitGroup
		for i := range number {
			lists.Go(func() { list(t.Context(), cluster, i) })
		}
		synctest.Wait()
		slow.Store(false)
		if _, err := cluster.IsReplaced(t.Context(), types.NamespacedName{Namespace: namespace, Name: "ca"}, "a.b"); err != nil {
			t.Error(err)
		}
		close(proceed)
		lists.Wait()
	})
}

// checkPlaceIsBlamed checks that a list that fails is the fault of the place where a client lets it go on, if there is one.
func checkPlaceIsBlamed(t *testing.T, cluster *storetest.Cluster) {
	t.Helper()
	for after, want := range map[string]error{"": store.ErrUnavailable, "bw": store.ErrExpired} {
		if _, _, err := cluster.OrdersOf(t.Context(), account("me"), after, 100); !errors.Is(err, want) {
			t.Errorf("after %q: %v, want %v", after, err, want)
		}
	}
}

// A place with a version of the future is the client's fault.
func TestAPlaceOfTheFutureInAListOfOrders(t *testing.T) {
	cluster := storetest.New(t)
	future := apierrors.NewTimeoutError("Too large resource version", 1)
	future.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	cluster.Live.Fail = func() error { return future }
	checkPlaceIsBlamed(t, cluster)
}

// The client of the API server repeats a list at a version of the future. A place that takes that long is no place either.
func TestAPlaceThatTakesTooLongInAListOfOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.New(t)
		cluster.Live.Fail = func() error {
			time.Sleep(11 * time.Second)
			return context.DeadlineExceeded
		}
		checkPlaceIsBlamed(t, cluster)
	})
}

// Anyone may ask about certificates, so few requests read at once. They are counted, and the others are told to ask again.
func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.New(t)
		issuer := types.NamespacedName{Namespace: "ns", Name: "ca"}
		proceed := make(chan struct{})
		cluster.Live.Fail = func() error { <-proceed; return nil }
		busy, unknown := atomic.Int64{}, atomic.Int64{}
		var lookups sync.WaitGroup
		for i := range 100 {
			number, _ := acme.OrderSerial(v1alpha1.NewObjectName(time.Now()), uint32(i))
			for range 2 { // requests about the same certificate share a read
				lookups.Go(func() {
					switch _, err := cluster.OrderWithSerial(t.Context(), issuer, number); {
					case errors.Is(err, store.ErrBusy):
						busy.Add(1)
					case errors.Is(err, store.ErrNotFound):
						unknown.Add(1)
					}
				})
			}
		}
		synctest.Wait()
		if reads := cluster.Orders.LiveReads(); reads != 16 {
			t.Errorf("%d reads in flight", reads)
		}
		time.Sleep(3 * time.Second)
		close(proceed)
		lookups.Wait()
		if busy.Load() != 2*84 || unknown.Load() != 2*16 {
			t.Errorf("%d busy, %d unknown", busy.Load(), unknown.Load())
		}
	})
}

// Anyone can end many requests. The reads for them are not made, and other requests do not wait for their turn.
func TestLookupsEndWithTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := storetest.New(t)
		reads, proceed := atomic.Int64{}, make(chan struct{})
		cluster.Live.Fail = func() error {
			reads.Add(1)
			<-proceed
			return nil
		}
		var lookups sync.WaitGroup
		lookUp := func(ctx context.Context, number *big.Int, want error) {
			lookups.Go(func() {
				issuer := types.NamespacedName{Namespace: "ns", Name: "ca"}
				if _, err := cluster.OrderWithSerial(ctx, issuer, number); !errors.Is(err, want) {
					t.Errorf("certificate %x: %v, want %v", number, err, want)
				}
			})
			synctest.Wait()
		}
		some := func() *big.Int {
			number, _ := acme.OrderSerial(v1alpha1.NewObjectName(time.Now()), 0)
			return number
		}
		for range 16 {
			lookUp(t.Context(), some(), store.ErrNotFound)
		}
		gone, leave := context.WithCancel(t.Context())
		for range 100 {
			lookUp(gone, some(), store.ErrUnavailable)
		}
		shared := some()
		lookUp(gone, shared, store.ErrUnavailable)
		lookUp(t.Context(), shared, store.ErrNotFound)
		leave()
		synctest.Wait()
		close(proceed)
		lookups.Wait()
		synctest.Wait()
		if n := reads.Load(); n != 17 {
			t.Errorf("%d reads, want 17", n)
		}
	})
}
