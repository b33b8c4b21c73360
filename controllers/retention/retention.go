// Package retention removes expired orders, authorizations and accounts.
package retention

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/informer"
)

const (
	// shortestPeriod is the least time between two sweeps. It is longer, at least walkPeriods times the duration of the walk, if there
	// are many orders.
	shortestPeriod = 10 * time.Minute
	walkPeriods    = 50
	// retryPeriod is the time after which a failed walk is repeated.
	retryPeriod = time.Minute
	// retentionRate bounds the objects removed in a second, so that a sweep doesn't delay clients.
	retentionRate = 20
	// maxRemoved bounds the objects that a sweep removes. Another sweep follows at once.
	maxRemoved = 20_000
	// claimGrace is the least age at which a key claim without an account is removed: a younger one may be in flight.
	claimGrace = time.Hour
)

// Sweeper removes expired objects (spec.retention): orders, authorizations, and unused accounts. An order is kept while its
// certificate can be revoked, and by its finalizer until a revocation is in the CRL.
//
// The cache does not hold finished orders, so a sweep walks all stored ones. The walk also fills the inventory, and notes the CRLs that
// certificates name.
type Sweeper struct {
	Client client.Client
	// Live reads past the cache.
	Live  client.Reader
	Clock clock.WithTicker
	// Namespaces are those whose orders are walked; none for all.
	Namespaces []string
	// Inventory learns of each order of a walk; nil for none.
	Inventory *inventory.Orders
	// NoteCRL is told of the CRL of each order of a walk; nil for none.
	NoteCRL func(issuers.CRLRequest)
}

// SetupWithManager adds to a manager the periodic removal of expired objects.
func (r *Sweeper) SetupWithManager(mgr manager.Manager) error {
	return mgr.Add(manager.RunnableFunc(r.run))
}

// run sweeps at once, after each period, and after the inventory missed events.
func (r *Sweeper) run(ctx context.Context) error {
	for {
		wait, err := r.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "can't remove all expired objects, retrying")
		}
		timer := r.Clock.NewTimer(wait)
		select {
		case <-timer.C():
		case <-r.Inventory.Again():
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// Sweep removes the objects that have expired by now.
func (r *Sweeper) Sweep(ctx context.Context) error {
	_, err := r.sweep(ctx)
	return err
}

// sweep is Sweep, and returns the time until the next one.
func (r *Sweeper) sweep(ctx context.Context) (next time.Duration, err error) {
	s := &sweep{Sweeper: r, now: r.Clock.Now(), pace: rate.NewLimiter(retentionRate, retentionRate), uses: map[client.ObjectKey]*lastUse{}}
	err = s.run(ctx)
	if s.removed > 0 {
		logf.FromContext(ctx).Info("removed expired objects", "number", s.removed)
	}
	switch {
	case !s.walked:
		return retryPeriod, err
	case len(s.over) >= maxRemoved:
		return 0, err
	}
	return max(shortestPeriod, walkPeriods*s.took), err
}

// sweep is one pass over all objects.
type sweep struct {
	*Sweeper
	now     time.Time
	pace    *rate.Limiter
	rules   map[client.ObjectKey]rules    // by issuer
	uses    map[client.ObjectKey]*lastUse // by account
	over    []client.Object               // expired ones, with the metadata that removal needs
	held    []*v1alpha1.AcmeOrder         // orders with a finalizer for nothing, with their metadata alone
	walked  bool
	took    time.Duration // of the walk
	removed int
	errs    []error
}

// lastUse holds the creation times of an account's newest object among those that stay, and among those that are removed.
type lastUse struct{ staying, going time.Time }

func (s *sweep) run(ctx context.Context) error {
	var known v1alpha1.AcmeIssuerList
	if err := s.Client.List(ctx, &known, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	s.rules = map[client.ObjectKey]rules{}
	for i := range known.Items {
		s.rules[client.ObjectKeyFromObject(&known.Items[i])] = rulesOf(&known.Items[i].Spec)
	}
	if err := s.walk(ctx); err != nil {
		return err
	}
	var accounts v1alpha1.AcmeAccountList
	if err := s.Client.List(ctx, &accounts, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	if err := s.authorizations(ctx); err != nil {
		return err
	}
	s.release(ctx)
	s.noteUses(ctx, accounts.Items)
	for _, object := range s.over {
		s.remove(ctx, object)
	}
	for i := range accounts.Items {
		s.account(ctx, &accounts.Items[i])
	}
	return errors.Join(append(s.errs, ctx.Err())...)
}

// walk reads all stored orders.
func (s *sweep) walk(ctx context.Context) error {
	begun := time.Now()
	w := s.Inventory.Begin()
	err := informer.WalkOrders(ctx, s.Live, s.Namespaces, nil, func(page []informer.StoredOrder, remaining int64) error {
		for _, order := range page {
			w.Note(order.AcmeOrder, order.Bytes, order.Damaged)
			if !order.Damaged {
				s.order(order.AcmeOrder)
			}
		}
		w.Remaining(remaining)
		return nil
	})
	if err != nil {
		return err
	}
	w.Complete()
	s.walked, s.took = true, time.Since(begun)
	return nil
}

// order notes a stored order.
func (s *sweep) order(order *v1alpha1.AcmeOrder) {
	removal, ended := s.rulesOf(order.Namespace, order.Spec.IssuerRef).order(order)
	ended = ended && s.now.After(removal) && len(s.over) < maxRemoved
	s.used(order, order.Spec.AccountRef, ended)
	if ended && order.DeletionTimestamp == nil {
		s.over = append(s.over, &v1alpha1.AcmeOrder{ObjectMeta: metadataOf(order)})
	}
	if order.KeptForNothing() && len(s.held) < maxRemoved {
		held := &v1alpha1.AcmeOrder{ObjectMeta: metadataOf(order)}
		held.Finalizers = slices.Clone(order.Finalizers)
		s.held = append(s.held, held)
	}
	if s.NoteCRL != nil && order.Status.CRL != "" {
		s.NoteCRL(issuers.CRLRequest{Namespace: order.Namespace, Issuer: order.Spec.IssuerRef.Name, Name: order.Status.CRL})
	}
}

// metadataOf returns a copy of the metadata that a removal needs. It shares no memory with the page of the object.
func metadataOf(object client.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: strings.Clone(object.GetNamespace()), Name: strings.Clone(object.GetName()),
		UID: types.UID(strings.Clone(string(object.GetUID()))), ResourceVersion: strings.Clone(object.GetResourceVersion())}
}

// authorizations notes the cached authorizations, and lists those that nobody can use any more, unless an unfinished order names them.
func (s *sweep) authorizations(ctx context.Context) error {
	var orders v1alpha1.AcmeOrderList // those that the cache holds
	var list v1alpha1.AcmeAuthorizationList
	for _, cached := range []client.ObjectList{&list, &orders} {
		if err := s.Client.List(ctx, cached, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
	}
	needed := map[client.ObjectKey]bool{}
	for i := range orders.Items {
		order := &orders.Items[i]
		if order.Finished() {
			continue
		}
		s.used(order, order.Spec.AccountRef, false) // the walk may have missed a new one
		for _, name := range order.Spec.Authorizations {
			needed[client.ObjectKey{Namespace: order.Namespace, Name: name}] = true
		}
	}
	for i := range list.Items {
		authz := &list.Items[i]
		removal, ended := s.rulesOf(authz.Namespace, authz.Spec.IssuerRef).authorization(authz)
		ended = ended && !needed[client.ObjectKeyFromObject(authz)] && s.now.After(removal) && len(s.over) < maxRemoved
		s.used(authz, authz.Spec.AccountRef, ended)
		if ended {
			s.over = append(s.over, &v1alpha1.AcmeAuthorization{ObjectMeta: metadataOf(authz)})
		}
	}
	return nil
}

// rulesOf returns the rules of an issuer, which may be deleted.
func (s *sweep) rulesOf(namespace string, issuer v1alpha1.ObjectRef) rules {
	return s.rules[client.ObjectKey{Namespace: namespace, Name: issuer.Name}]
}

// used notes an object of an account. going reports whether the object is about to be removed.
func (s *sweep) used(object client.Object, account v1alpha1.ObjectRef, going bool) {
	key := client.ObjectKey{Namespace: object.GetNamespace(), Name: account.Name}
	u := s.uses[key]
	if u == nil {
		u = &lastUse{}
		s.uses[key] = u
	}
	newest := &u.staying
	if going {
		newest = &u.going
	}
	if made := object.GetCreationTimestamp().Time; made.After(*newest) {
		*newest = made
	}
}

// noteUses stores when accounts were last used, if the newest object of an account is about to be removed. That is rare: an
// account in use has newer objects.
func (s *sweep) noteUses(ctx context.Context, accounts []v1alpha1.AcmeAccount) {
	for i := range accounts {
		u := s.uses[client.ObjectKeyFromObject(&accounts[i])]
		if u == nil || !u.going.After(u.staying) || accounts[i].Status.LastUsed != nil && !u.going.After(accounts[i].Status.LastUsed.Time) {
			continue
		}
		if s.pace.Wait(ctx) != nil {
			return
		}
		account := accounts[i].DeepCopy()
		account.Status.LastUsed = &metav1.Time{Time: u.going}
		if err := kube.WriteStatus(ctx, s.Client, account, &accounts[i]); client.IgnoreNotFound(err) != nil {
			s.errs = append(s.errs, err)
			u.staying = u.going // the time isn't stored, so the account stays for now
		}
	}
}

// account removes an unused account, or a key claim whose account is gone. A claim stays as long as its account. Otherwise a
// thief could register again with a replaced key, and use records that name the key's account, such as those of dns-persist-01.
func (s *sweep) account(ctx context.Context, account *v1alpha1.AcmeAccount) {
	kept := s.rulesOf(account.Namespace, account.Spec.IssuerRef).accounts()
	last := account.CreationTimestamp.Time
	if account.Status.LastUsed != nil && account.Status.LastUsed.After(last) {
		last = account.Status.LastUsed.Time
	}
	u := s.uses[client.ObjectKeyFromObject(account)]
	switch {
	case account.DeletionTimestamp != nil:
	case account.Spec.KeyClaimFor != "":
		if s.now.After(last.Add(claimGrace)) && s.lacksAccount(ctx, account) {
			s.remove(ctx, account)
		}
	case account.Status.State == acme.StateRevoked: // a person revoked it, and can remove it
	case u == nil && s.now.After(last.Add(kept)) && s.hasNoOrder(ctx, account):
		s.remove(ctx, account)
	}
}

// hasNoOrder reports whether no stored order is an account's. The walk may have missed an order that was created while it went on.
func (s *sweep) hasNoOrder(ctx context.Context, account *v1alpha1.AcmeAccount) bool {
	var orders v1alpha1.AcmeOrderList
	if err := s.Live.List(ctx, &orders, client.InNamespace(account.Namespace), client.MatchingFields{"spec.accountRef.name": account.Name},
		client.Limit(1)); err != nil {
		s.errs = append(s.errs, err)
		return false
	}
	return len(orders.Items) == 0
}

// lacksAccount reports whether the account of a key claim is gone.
func (s *sweep) lacksAccount(ctx context.Context, claim *v1alpha1.AcmeAccount) bool {
	for _, reader := range []client.Reader{s.Client, s.Live} {
		owner := client.ObjectKey{Namespace: claim.Namespace, Name: claim.Spec.KeyClaimFor}
		if err := reader.Get(ctx, owner, &v1alpha1.AcmeAccount{}); !apierrors.IsNotFound(err) {
			return false
		}
	}
	return true
}

// remove deletes an object if it hasn't changed since it was read. It waits for the rate limit first.
func (s *sweep) remove(ctx context.Context, object client.Object) {
	if s.pace.Wait(ctx) != nil {
		return
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	err := s.Client.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	switch {
	case err == nil:
		s.removed++
	case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err): // a changed object is left for the next sweep
		s.errs = append(s.errs, err)
	}
}

// release removes the finalizer of orders that have it for nothing, at the pace of removals: an earlier version created every
// order with it.
func (s *sweep) release(ctx context.Context) {
	for _, order := range s.held {
		if s.pace.Wait(ctx) != nil {
			return
		}
		if err := kube.RemoveFinalizer(ctx, s.Client, order); err != nil && !apierrors.IsConflict(err) {
			s.errs = append(s.errs, err)
		}
	}
}
