package informer

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// storedOrders lists orders as the API server does.
type storedOrders struct {
	count   int
	expires int // the number of the page that has expired, from 1; 0 for none
	asked   []metav1.ListOptions
	watched []metav1.ListOptions
}

func (s *storedOrders) list(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	s.asked = append(s.asked, o)
	if len(s.asked) == s.expires {
		return nil, apierrors.NewResourceExpired("too old")
	}
	from, _ := strconv.Atoi(o.Continue)
	to := s.count
	if o.Limit > 0 {
		to = min(to, from+int(o.Limit))
	}
	list := &v1alpha1.AcmeOrderList{}
	list.ResourceVersion = "7"
	for i := from; i < to; i++ {
		order := v1alpha1.AcmeOrder{}
		order.Namespace, order.Name, order.Status.State, order.Status.Certificate = "a", fmt.Sprint(i), acme.StateValid, "PEM"
		list.Items = append(list.Items, order)
	}
	if to < s.count {
		list.Continue = fmt.Sprint(to)
	}
	return list, nil
}

func (s *storedOrders) watch(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s.watched = append(s.watched, o)
	return watch.NewFake(), nil
}

func TestPagedInformer(t *testing.T) {
	for name, test := range map[string]struct {
		stored storedOrders
		asked  int
	}{
		"none":            {storedOrders{}, 1},
		"one page":        {storedOrders{count: pageSize}, 1},
		"three pages":     {storedOrders{count: 2*pageSize + 1}, 3},
		"an expired page": {storedOrders{count: 3 * pageSize, expires: 2}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.stored
			informer := New(Options{}).NewInformer(&toolscache.ListWatch{ListWithContextFunc: s.list, WatchFuncWithContext: s.watch}, &v1alpha1.AcmeOrder{}, 0, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				informer.RunWithContext(ctx)
			}()
			if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				t.Fatal("the informer did not sync")
			}
			keys := informer.GetStore().ListKeys()
			if len(keys) != s.count || len(s.asked) != test.asked {
				t.Errorf("%d objects after %d lists", len(keys), len(s.asked))
			}
			if version := informer.LastSyncResourceVersion(); version != "7" {
				t.Errorf("it watches from version %q", version)
			}
			for _, object := range informer.GetStore().List() {
				if object.(*v1alpha1.AcmeOrder).Status.Certificate != "" {
					t.Fatal("the cache has a finished order's certificate")
				}
			}
			cancel()
			<-done
			for _, o := range s.watched {
				if o.SendInitialEvents != nil {
					t.Error("the watch asks for all objects as events")
				}
			}
		})
	}
}
