package controllers

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// retentionPeriod is how often finished objects are looked for.
	retentionPeriod = 10 * time.Minute
	// retentionRate is how many are removed a second, so that clients aren't held up by the clearing away.
	retentionRate = 20
	// defaultRetention is for what belonged to an issuer that is gone; it is the default of spec.retention.orders.
	defaultRetention = 720 * time.Hour
)

// Retention removes orders and authorizations that were finished long ago (spec.retention). An order stays for as long as
// its certificate can be revoked, and its finalizer keeps it until a revocation is in the CRL. Accounts stay: clients take
// the loss of theirs for good. Claims of keys stay with them.
type Retention struct {
	Client client.Client
	Clock  clock.WithTicker
}

// NeedLeaderElection is true: one replica clears away.
func (r *Retention) NeedLeaderElection() bool { return true }

// Start clears away now and then until the context ends.
func (r *Retention) Start(ctx context.Context) error {
	ticker := r.Clock.NewTicker(retentionPeriod)
	defer ticker.Stop()
	for {
		if err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "not everything that is over could be removed; it is tried again")
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// Sweep removes what is over now.
func (r *Retention) Sweep(ctx context.Context) error {
	kept, err := r.keptFor(ctx)
	if err != nil {
		return err
	}
	over, err := r.over(ctx, kept)
	if err != nil {
		return err
	}
	orphans, err := r.orphanedClaims(ctx)
	if err != nil {
		return err
	}
	over = append(over, orphans...)
	pace := rate.NewLimiter(retentionRate, retentionRate)
	var errs []error
	for _, object := range over {
		if err := pace.Wait(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		uid := object.GetUID()
		errs = append(errs, client.IgnoreNotFound(r.Client.Delete(ctx, object, client.Preconditions{UID: &uid})))
	}
	if len(over) > 0 {
		logf.FromContext(ctx).Info("finished objects removed", "number", len(over))
	}
	return errors.Join(errs...)
}

// keptFor gives how long what belongs to an issuer is kept.
func (r *Retention) keptFor(ctx context.Context) (func(namespace string, issuer v1alpha1.ObjectRef) time.Duration, error) {
	var issuers v1alpha1.AcmeIssuerList
	if err := r.Client.List(ctx, &issuers); err != nil {
		return nil, err
	}
	periods := map[client.ObjectKey]time.Duration{}
	for i := range issuers.Items {
		periods[client.ObjectKeyFromObject(&issuers.Items[i])] = issuers.Items[i].Spec.Retention.Orders.Duration
	}
	return func(namespace string, issuer v1alpha1.ObjectRef) time.Duration {
		if period := periods[client.ObjectKey{Namespace: namespace, Name: issuer.Name}]; period > 0 {
			return period
		}
		return defaultRetention
	}, nil
}

// over lists what was finished longer ago than it is kept.
func (r *Retention) over(ctx context.Context, kept func(string, v1alpha1.ObjectRef) time.Duration) ([]client.Object, error) {
	var orders v1alpha1.AcmeOrderList
	if err := r.Client.List(ctx, &orders, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var authorizations v1alpha1.AcmeAuthorizationList
	if err := r.Client.List(ctx, &authorizations, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	now := r.Clock.Now()
	var over []client.Object
	needed := map[client.ObjectKey]bool{}
	for i := range orders.Items {
		order := &orders.Items[i]
		if end, ended := orderEnd(order); ended && order.DeletionTimestamp == nil && now.After(end.Add(kept(order.Namespace, order.Spec.IssuerRef))) {
			over = append(over, order.DeepCopy())
			continue
		}
		if unsettledOrder(order) {
			for _, name := range order.Spec.Authorizations {
				needed[client.ObjectKey{Namespace: order.Namespace, Name: name}] = true
			}
		}
	}
	for i := range authorizations.Items {
		authz := &authorizations.Items[i]
		end, ended := authorizationEnd(authz)
		if ended && !needed[client.ObjectKeyFromObject(authz)] && now.After(end.Add(kept(authz.Namespace, authz.Spec.IssuerRef))) {
			over = append(over, authz.DeepCopy())
		}
	}
	return over, nil
}

// claimGrace is how old a claim is at least before its account is missed.
const claimGrace = time.Hour

// orphanedClaims lists the claims of keys for accounts that people have removed: without the account nobody can have its key
// changed, so that the claims keep the keys for nothing.
func (r *Retention) orphanedClaims(ctx context.Context) ([]client.Object, error) {
	var accounts v1alpha1.AcmeAccountList
	if err := r.Client.List(ctx, &accounts, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	there := map[client.ObjectKey]bool{}
	for i := range accounts.Items {
		there[client.ObjectKeyFromObject(&accounts.Items[i])] = true
	}
	var orphans []client.Object
	for i := range accounts.Items {
		claim := &accounts.Items[i]
		account := client.ObjectKey{Namespace: claim.Namespace, Name: claim.Spec.KeyClaimFor}
		if account.Name != "" && !there[account] && claim.DeletionTimestamp == nil && r.Clock.Since(claim.CreationTimestamp.Time) > claimGrace {
			orphans = append(orphans, claim.DeepCopy())
		}
	}
	return orphans, nil
}

// orderEnd is when an order was over: its certificate's last second, or its failure, of which the condition tells.
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

// authorizationEnd is when an authorization ceased to count, or would have.
func authorizationEnd(authz *v1alpha1.AcmeAuthorization) (time.Time, bool) {
	if authz.Status.Expires == nil {
		return time.Time{}, false
	}
	return authz.Status.Expires.Time, true
}
