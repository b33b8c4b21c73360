// Package retention removes expired orders, authorizations and accounts.
package retention

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
)

const (
	// retentionPeriod is the time between two sweeps.
	retentionPeriod = 10 * time.Minute
	// retentionRate bounds the objects removed in a second, so that a sweep doesn't delay clients.
	retentionRate = 20
	// keptOrders and keptAccounts apply to objects of a deleted issuer. They are the defaults of spec.retention.
	keptOrders   = 720 * time.Hour
	keptAccounts = 8760 * time.Hour
	// claimGrace is the least age at which a key claim without an account is removed: a younger one may be in flight.
	claimGrace = time.Hour
)

// Sweeper removes expired objects (spec.retention): orders, authorizations, and unused accounts. An order is kept while its
// certificate can be revoked, and by its finalizer until a revocation is in the CRL.
type Sweeper struct {
	Client client.Client
	// Live reads past the cache, if a stale answer would do harm.
	Live  client.Reader
	Clock clock.WithTicker
	// Informers hold the cached objects; nil to list them with Client.
	Informers cache.Informers
}

// SetupWithManager adds to a manager the periodic removal of expired objects.
func (r *Sweeper) SetupWithManager(mgr manager.Manager) error {
	return mgr.Add(kube.Periodic(r.Clock, retentionPeriod, "can't remove all expired objects", r.Sweep))
}

// Sweep removes the objects that have expired by now.
func (r *Sweeper) Sweep(ctx context.Context) error {
	s := &sweep{Sweeper: r, now: r.Clock.Now(), pace: rate.NewLimiter(retentionRate, retentionRate), uses: map[client.ObjectKey]*lastUse{}}
	err := s.run(ctx)
	if s.removed > 0 {
		logf.FromContext(ctx).Info("removed expired objects", "number", s.removed)
	}
	return err
}

// sweep is one pass over all objects.
type sweep struct {
	*Sweeper
	now     time.Time
	pace    *rate.Limiter
	kept    map[client.ObjectKey]v1alpha1.Retention // by issuer
	uses    map[client.ObjectKey]*lastUse           // by account
	removed int
	errs    []error
}

// lastUse holds the creation times of an account's newest object among those that stay, and among those that are removed.
type lastUse struct{ staying, going time.Time }

func (s *sweep) run(ctx context.Context) error {
	var issuers v1alpha1.AcmeIssuerList
	var accounts v1alpha1.AcmeAccountList
	for _, list := range []client.ObjectList{&issuers, &accounts} {
		if err := s.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
	}
	orders, err := listCached(ctx, s.Sweeper, &v1alpha1.AcmeOrder{}, &v1alpha1.AcmeOrderList{})
	if err != nil {
		return err
	}
	authorizations, err := listCached(ctx, s.Sweeper, &v1alpha1.AcmeAuthorization{}, &v1alpha1.AcmeAuthorizationList{})
	if err != nil {
		return err
	}
	s.kept = map[client.ObjectKey]v1alpha1.Retention{}
	for i := range issuers.Items {
		s.kept[client.ObjectKeyFromObject(&issuers.Items[i])] = issuers.Items[i].Spec.Retention
	}
	over := s.expired(orders, authorizations)
	s.release(ctx, orders)
	s.noteUses(ctx, accounts.Items)
	for _, object := range over {
		s.remove(ctx, object)
	}
	for i := range accounts.Items {
		s.account(ctx, &accounts.Items[i])
	}
	return errors.Join(append(s.errs, ctx.Err())...)
}

// listCached returns all cached objects of a kind, which must not be changed. A list would copy every object's fields, and need
// as much memory again for a moment.
func listCached[T client.Object](ctx context.Context, r *Sweeper, kind T, list client.ObjectList) ([]T, error) {
	var all []T
	if r.Informers != nil {
		informer, err := r.Informers.GetInformer(ctx, kind)
		if err != nil {
			return nil, err
		}
		if one, ok := informer.(toolscache.SharedIndexInformer); ok { // the cache of several namespaces has another type
			for _, object := range one.GetStore().List() {
				all = append(all, object.(T))
			}
			return all, nil
		}
	}
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	err := meta.EachListItem(list, func(object runtime.Object) error {
		all = append(all, object.(T))
		return nil
	})
	return all, err
}

// retention returns how long an issuer's orders and accounts are kept.
func (s *sweep) retention(namespace string, issuer v1alpha1.ObjectRef) (orders, accounts time.Duration) {
	kept := s.kept[client.ObjectKey{Namespace: namespace, Name: issuer.Name}]
	orders, accounts = kept.Orders.Duration, kept.Accounts.Duration
	if orders <= 0 {
		orders = keptOrders
	}
	if accounts <= 0 {
		accounts = keptAccounts
	}
	return orders, accounts
}

// expired lists the orders and authorizations that were finished longer ago than they are kept.
func (s *sweep) expired(orders []*v1alpha1.AcmeOrder, authorizations []*v1alpha1.AcmeAuthorization) []client.Object {
	var over []client.Object
	needed := map[client.ObjectKey]bool{}
	for _, order := range orders {
		kept, _ := s.retention(order.Namespace, order.Spec.IssuerRef)
		end, ended := orderEnd(order)
		ended = ended && s.now.After(end.Add(kept))
		s.used(order, order.Spec.AccountRef, ended)
		if ended && order.DeletionTimestamp == nil {
			over = append(over, order.DeepCopy())
		}
		if !order.Finished() {
			for _, name := range order.Spec.Authorizations {
				needed[client.ObjectKey{Namespace: order.Namespace, Name: name}] = true
			}
		}
	}
	for _, authz := range authorizations {
		kept, _ := s.retention(authz.Namespace, authz.Spec.IssuerRef)
		end, ended := authorizationEnd(authz)
		ended = ended && !needed[client.ObjectKeyFromObject(authz)] && s.now.After(end.Add(kept))
		s.used(authz, authz.Spec.AccountRef, ended)
		if ended {
			over = append(over, authz.DeepCopy())
		}
	}
	return over
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
	_, kept := s.retention(account.Namespace, account.Spec.IssuerRef)
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
	case u == nil && s.now.After(last.Add(kept)):
		s.remove(ctx, account)
	}
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
func (s *sweep) release(ctx context.Context, orders []*v1alpha1.AcmeOrder) {
	for _, order := range orders {
		if !order.KeptForNothing() {
			continue
		}
		if s.pace.Wait(ctx) != nil {
			return
		}
		if err := kube.RemoveFinalizer(ctx, s.Client, order); err != nil && !apierrors.IsConflict(err) {
			s.errs = append(s.errs, err)
		}
	}
}

// orderEnd returns when an order ended: its certificate's last second, or the time of its failure from the Ready condition.
func orderEnd(order *v1alpha1.AcmeOrder) (time.Time, bool) {
	switch order.Status.State {
	case acme.StateValid:
		if order.Status.NotAfter != nil {
			return order.Status.NotAfter.Time, true
		}
	case acme.StateInvalid:
		for _, c := range order.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				return c.LastTransitionTime.Time, true
			}
		}
	}
	return time.Time{}, false
}

// authorizationEnd returns when an authorization expires or expired.
func authorizationEnd(authz *v1alpha1.AcmeAuthorization) (time.Time, bool) {
	if authz.Status.Expires == nil {
		return time.Time{}, false
	}
	return authz.Status.Expires.Time, true
}
