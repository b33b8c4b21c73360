package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// crlInterval is the least time between two CRLs of a shard: what is revoked in between goes into the next one together.
const crlInterval = time.Second

// ShardRequest asks for a CRL shard to be looked at.
type ShardRequest struct {
	Namespace, Issuer, Shard string
}

// RevocationListReconciler publishes an issuer's revocations, a CRL for each shard, in ConfigMaps. The CRL is the durable
// record: an order may go once its revocation is in it.
type RevocationListReconciler struct {
	// Client reads ConfigMaps past every cache, so that the controllers need no right to list them.
	Client  client.Client
	Issuers *Issuers
	Events  events.EventRecorder
	Clock   clock.PassiveClock

	mu        sync.Mutex
	published map[ShardRequest]*publishedCRL
}

// publishedCRL is a CRL as it was last read or written.
type publishedCRL struct {
	configMap *corev1.ConfigMap // without its data
	crl       *ca.CRL           // nil where there is none yet
	at        time.Time
}

// Reconcile brings a shard up to date: with what was revoked, and anew before half of its life is over.
func (r *RevocationListReconciler) Reconcile(ctx context.Context, request ShardRequest) (ctrl.Result, error) {
	issuer, ok := r.Issuers.Get(request.Namespace, request.Issuer)
	if !ok {
		return ctrl.Result{}, nil // the issuer's becoming ready wakes its shards
	}
	authority := issuer.authorityOf(request.Shard)
	if authority == nil {
		return ctrl.Result{}, nil // of a CA whose key is gone
	}
	last, err := r.read(ctx, request, authority.Certificate())
	if err != nil {
		return ctrl.Result{}, err
	}
	now := r.Clock.Now()
	if wait := last.at.Add(crlInterval).Sub(now); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	revoked, err := r.revoked(ctx, request)
	if err != nil {
		return ctrl.Result{}, err
	}
	next, due := nextCRL(last.crl, revoked, now, issuer.Spec.CRL.Lifetime.Duration)
	if due > 0 {
		return ctrl.Result{RequeueAfter: due}, r.release(ctx, request, last.crl)
	}
	next.URL = issuer.PlainBase + "/" + acme.CRLPrefix + request.Shard + acme.CRLSuffix
	der, err := authority.SignCRL(next)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("CRL shard %s: %w", request.Shard, err)
	}
	if err := r.write(ctx, request, last.configMap, &next, der); err != nil {
		return ctrl.Result{}, err
	}
	logf.FromContext(ctx).Info("CRL published", "shard", request.Shard, "number", next.Number.String(), "entries", len(next.Entries), "nextUpdate", next.NextUpdate)
	return ctrl.Result{RequeueAfter: crlInterval}, r.release(ctx, request, &next)
}

// nextCRL is the CRL to publish now, or says when to look again.
func nextCRL(last *ca.CRL, revoked []ca.Entry, now time.Time, lifetime time.Duration) (ca.CRL, time.Duration) {
	next := ca.CRL{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(lifetime)}
	if last == nil {
		next.Entries = ca.Carry(nil, time.Time{}, revoked)
		return next, 0
	}
	next.Number = new(big.Int).Add(last.Number, big.NewInt(1))
	next.Entries = ca.Carry(last.Entries, last.ThisUpdate, revoked)
	renew := last.ThisUpdate.Add(last.NextUpdate.Sub(last.ThisUpdate) / 2)
	shortened := last.NextUpdate.After(next.NextUpdate)
	if now.Before(renew) && !shortened && !hasNew(last.Entries, next.Entries) {
		return ca.CRL{}, renew.Sub(now)
	}
	return next, 0
}

// hasNew reports whether there are entries that the CRL, whose own are in the order of their serial numbers, lacks.
func hasNew(listed, entries []ca.Entry) bool {
	return slices.ContainsFunc(entries, func(e ca.Entry) bool { return !lists(listed, e.Serial) })
}

func lists(listed []ca.Entry, serial *big.Int) bool {
	_, found := slices.BinarySearchFunc(listed, serial, func(e ca.Entry, serial *big.Int) int { return e.Serial.Cmp(serial) })
	return found
}

// revoked are the revoked certificates of the shard whose orders still exist.
func (r *RevocationListReconciler) revoked(ctx context.Context, request ShardRequest) ([]ca.Entry, error) {
	var orders v1alpha1.AcmeOrderList
	if err := r.list(ctx, request, &orders); err != nil {
		return nil, err
	}
	var entries []ca.Entry
	for i := range orders.Items {
		order := &orders.Items[i]
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		if !ok || order.Spec.Revocation == nil || order.Status.NotAfter == nil {
			continue
		}
		entries = append(entries, ca.Entry{
			Serial: serial, RevokedAt: order.Status.RevokedAt.Time, Reason: ca.Reason(order.Spec.Revocation.Reason), NotAfter: order.Status.NotAfter.Time,
		})
	}
	return entries, nil
}

func (r *RevocationListReconciler) list(ctx context.Context, request ShardRequest, orders *v1alpha1.AcmeOrderList) error {
	return r.Client.List(ctx, orders, client.InNamespace(request.Namespace), client.MatchingFields{indexRevoked: request.Issuer + "/" + request.Shard}, client.UnsafeDisableDeepCopy)
}

// release lets go of orders that are being deleted, once the CRL has their revocation.
func (r *RevocationListReconciler) release(ctx context.Context, request ShardRequest, published *ca.CRL) error {
	var orders v1alpha1.AcmeOrderList
	if err := r.list(ctx, request, &orders); err != nil {
		return err
	}
	var errs []error
	for i := range orders.Items {
		order := &orders.Items[i]
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		if order.DeletionTimestamp == nil || !ok || !lists(published.Entries, serial) && !order.Status.NotAfter.Time.Before(published.ThisUpdate) {
			continue
		}
		errs = append(errs, dropFinalizer(ctx, r.Client, order))
	}
	return errors.Join(errs...)
}

// read gives the CRL that was published last: from memory, and from its ConfigMap after a start or a conflict.
func (r *RevocationListReconciler) read(ctx context.Context, request ShardRequest, authority *x509.Certificate) (*publishedCRL, error) {
	r.mu.Lock()
	known := r.published[request]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	configMap := &corev1.ConfigMap{}
	name := client.ObjectKey{Namespace: request.Namespace, Name: v1alpha1.CRLConfigMap(request.Issuer, request.Shard)}
	if err := r.Client.Get(ctx, name, configMap); apierrors.IsNotFound(err) {
		return &publishedCRL{}, nil
	} else if err != nil {
		return nil, err
	}
	crl, err := ca.ParseCRL(configMap.BinaryData[v1alpha1.CRLField], authority)
	if err != nil {
		// Beginning again at 1 would take revocations back: a person has to look at it.
		return nil, fmt.Errorf("ConfigMap %s/%s holds no CRL of this CA; restore it, or delete it if nothing was revoked in it: %w", name.Namespace, name.Name, err)
	}
	if err := crl.SetExpiries(configMap.BinaryData[v1alpha1.CRLExpiriesField]); err != nil {
		logf.FromContext(ctx).Info("expiries beside a CRL are of no use, its entries stay", "configMap", name.Name, "reason", err.Error())
	}
	return r.keep(request, configMap, crl, crl.ThisUpdate), nil
}

// write publishes a CRL. The resourceVersion keeps two controllers from publishing the same number.
func (r *RevocationListReconciler) write(ctx context.Context, request ShardRequest, last *corev1.ConfigMap, crl *ca.CRL, der []byte) error {
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: request.Namespace, Name: v1alpha1.CRLConfigMap(request.Issuer, request.Shard), Labels: map[string]string{issuerLabel: request.Issuer},
	}}
	write := func() error { return r.Client.Create(ctx, configMap) }
	if last != nil {
		configMap.ObjectMeta = last.ObjectMeta
		write = func() error { return r.Client.Update(ctx, configMap) }
	}
	configMap.BinaryData = map[string][]byte{v1alpha1.CRLField: der, v1alpha1.CRLExpiriesField: ca.MarshalExpiries(crl.Entries)}
	if err := write(); err != nil {
		r.mu.Lock()
		delete(r.published, request) // another controller's, perhaps: read it again
		r.mu.Unlock()
		return err
	}
	r.keep(request, configMap, crl, r.Clock.Now())
	return nil
}

func (r *RevocationListReconciler) keep(request ShardRequest, configMap *corev1.ConfigMap, crl *ca.CRL, at time.Time) *publishedCRL {
	kept := &publishedCRL{configMap: &corev1.ConfigMap{ObjectMeta: configMap.ObjectMeta}, crl: crl, at: at}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.published == nil {
		r.published = map[ShardRequest]*publishedCRL{}
	}
	r.published[request] = kept
	return kept
}
