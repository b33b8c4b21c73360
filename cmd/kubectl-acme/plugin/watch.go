package plugin

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

func newWatch(o *options) *cobra.Command {
	var f orderFilter
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show orders live, as they are created and change",
		Long: `Show unfinished orders, and all changes of orders from now on.

A terminal shows a table that is updated in place. Other outputs get a line for each change. Ctrl-C stops it.`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ []string) error { return o.watch(ctx, f) }),
	}
	addAllNamespaces(cmd, &f.all)
	cmd.Flags().StringVar(&f.issuer, "issuer", "", "only orders of this issuer")
	cmd.Flags().StringVar(&f.account, "account", "", "only orders of this account")
	o.complete(cmd, "issuer", completeIssuers)
	o.complete(cmd, "account", completeAccounts)
	return cmd
}

// unfinishedStates are the states that are not final.
var unfinishedStates = []acme.State{acme.StatePending, acme.StateReady, acme.StateProcessing}

func (o *options) watch(ctx context.Context, f orderFilter) error {
	w := &watcher{options: o, filter: f, live: isTerminal(o.Out), shown: map[client.ObjectKey]v1alpha1.AcmeOrder{}}
	if err := w.run(ctx); ctx.Err() == nil {
		return err
	}
	return nil // stopped by Ctrl-C
}

const (
	// drawEvery is the minimum time between two updates of the table.
	drawEvery = 250 * time.Millisecond
	// watchedOrders bounds the number of orders in memory.
	watchedOrders = 1000
	// watchAgain is the pause before a watch is restarted.
	watchAgain = time.Second
)

// watcher shows orders as they change.
type watcher struct {
	*options
	filter orderFilter
	live   bool
	shown  map[client.ObjectKey]v1alpha1.AcmeOrder
}

// run watches until ctx ends. It restarts a watch that ends, with the orders that are unfinished then.
func (w *watcher) run(ctx context.Context) error {
	for {
		version, err := w.begin(ctx)
		if err != nil {
			return err
		}
		if err := w.follow(ctx, version); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchAgain):
		}
	}
}

// begin lists the unfinished orders, and returns the resourceVersion to watch from.
func (w *watcher) begin(ctx context.Context) (string, error) {
	newest, err := w.metadata(ctx, w.in(w.filter.all), client.Limit(1))
	if err != nil {
		return "", err
	}
	for _, state := range unfinishedStates {
		f := w.filter
		f.state = string(state)
		visit := func(list *v1alpha1.AcmeOrderList) bool {
			for i := range list.Items {
				w.note(&list.Items[i], watch.Added)
			}
			return len(w.shown) < watchedOrders
		}
		if err := pages(ctx, w.kube, visit, w.in(f.all), f.fields()); err != nil {
			return "", err
		}
	}
	return newest.ResourceVersion, nil
}

func (w *watcher) follow(ctx context.Context, version string) error {
	opts := []client.ListOption{w.in(w.filter.all), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}}}
	if fields := w.filter.fields(); len(fields) > 0 {
		opts = append(opts, fields)
	}
	events, err := w.kube.Watch(ctx, &v1alpha1.AcmeOrderList{}, opts...)
	if err != nil {
		return err
	}
	defer events.Stop()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	changed := true
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-events.ResultChan():
			if !ok || event.Type == watch.Error {
				return faultOf(event)
			}
			if order, ok := event.Object.(*v1alpha1.AcmeOrder); ok {
				w.note(order, event.Type)
				changed = true
			}
		case <-tick.C:
			if changed && w.live {
				w.draw()
				changed = false
			}
		}
	}
}

// faultOf returns the error of the event that ended a watch. It is nil if the list is to be read again.
func faultOf(event watch.Event) error {
	if event.Type != watch.Error {
		return nil
	}
	if err := apierrors.FromObject(event.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		return err
	}
	return nil
}

// note stores an order, and writes the line of its change unless the table is live.
func (w *watcher) note(order *v1alpha1.AcmeOrder, change watch.EventType) {
	key := client.ObjectKeyFromObject(order)
	before, known := w.shown[key]
	lighten(order)
	if change == watch.Deleted {
		delete(w.shown, key)
	} else {
		w.shown[key] = *order
	}
	if len(w.shown) > watchedOrders {
		w.forgetOldest()
	}
	if w.live {
		return
	}
	now := view.OrderState(order, w.now())
	if known && change != watch.Deleted && view.OrderState(&before, w.now()) == now {
		return
	}
	if change == watch.Deleted {
		now = "deleted"
	}
	problem := ""
	if p := order.Status.Problem; p != nil {
		problem = fmt.Sprintf(" %s: %s", p.Type, p.Detail)
	}
	w.say(w.Out, "%s %s/%s %s %s%s", view.Time(w.now()), order.Namespace, order.Name, now, view.Identifiers(order.Spec.Identifiers), problem)
}

func (w *watcher) orders() []v1alpha1.AcmeOrder {
	all := make([]v1alpha1.AcmeOrder, 0, len(w.shown))
	for _, order := range w.shown {
		all = append(all, order)
	}
	slices.SortFunc(all, func(a, b v1alpha1.AcmeOrder) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	return all
}

func (w *watcher) forgetOldest() {
	for _, order := range w.orders()[watchedOrders/2:] {
		delete(w.shown, client.ObjectKeyFromObject(&order))
	}
}

// draw replaces the table on the screen. It shows as many orders as fit.
func (w *watcher) draw() {
	orders := w.orders()
	if file, ok := w.Out.(*os.File); ok {
		if _, height, err := term.GetSize(int(file.Fd())); err == nil {
			orders = orders[:min(len(orders), max(height-3, 1))]
		}
	}
	fmt.Fprint(w.Out, "\x1b[H\x1b[J")
	s := w.screen()
	w.say(w.Out, "Orders at %s; press Ctrl-C to stop", view.Time(s.Now))
	view.Orders(orders, w.filter.all, false, s).Write(s)
}
