// Package crl publishes CRLs in ConfigMaps, and holds the controller of CRL shards.
package crl

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

const (
	// Interval is the least time between two CRLs of a shard. All revocations in between are in the next CRL.
	Interval = time.Second
	// CheckPeriod is how often a published ConfigMap is read: it is not watched, and a person may delete or restore it.
	CheckPeriod = 10 * time.Minute
	// room is the number of free entries of a shard below which its issuer gets a warning.
	room = ca.MaxEntries / 4
	// releaseBatch bounds the finalizers that are removed after one CRL, so that the next CRL is not late.
	releaseBatch = 200
)

// Publisher publishes the revocations of issuers in ConfigMaps: for each CA a complete CRL, and shards if certificates name
// shards. The CRL is the durable record: an order
// may be deleted once its revocation is in the CRL. The controllers of CRL shards and of issuers share a Publisher.
type Publisher struct {
	// Client reads ConfigMaps past every cache, so that the controllers need no right to list them.
	Client          client.Client
	Issuers         *issuers.Registry
	CompromisedKeys *issuers.CompromisedKeys
	Clock           clock.PassiveClock

	// ending is held while a shard of an issuer that is being deleted is published, since two controllers do so.
	ending sync.Mutex

	mu        sync.Mutex
	published map[issuers.CRLRequest]*publishedCRL
	// unlisted counts the revocations that do not fit a shard.
	unlisted map[issuers.CRLRequest]int
}

// publishedCRL is a CRL as it was last read or written.
type publishedCRL struct {
	configMap *corev1.ConfigMap // without its data; nil if it does not exist
	crl       *ca.CRL           // nil if none is known
	size      int               // of the DER, in bytes
	at        time.Time         // when it was published
	checked   time.Time
}

// publish signs and stores the next CRL if one is due. The warning is for the issuer's condition.
func (p *Publisher) publish(ctx context.Context, request issuers.CRLRequest, issuer *issuers.Issuer, authority *ca.Authority) (ctrl.Result, string, error) {
	if issuer.Ending {
		p.ending.Lock()
		defer p.ending.Unlock()
	}
	last, err := p.read(ctx, request, authority.Certificate())
	if err != nil {
		return ctrl.Result{}, "", err
	}
	now := p.Clock.Now()
	if wait := last.at.Add(Interval).Sub(now); wait > 0 && wait <= Interval && !issuer.Ending { // unless the clock was set back
		return ctrl.Result{RequeueAfter: wait}, p.fill(request, last.crl), nil
	}
	revoked, err := p.revoked(ctx, request)
	if err != nil {
		return ctrl.Result{}, "", err
	}
	end := now.Add(issuer.Spec.CRL.Lifetime.Duration)
	if issuer.Ending {
		end = authority.NotAfter() // the last CRL stays valid until the last certificate has expired
	}
	var url string // none for a complete CRL
	if !request.IsComplete() {
		url = issuer.CRLURL(request.Name)
	}
	if last.crl == nil && request.IsComplete() {
		listed, err := p.listedInShards(ctx, request, issuer, authority)
		if err != nil {
			return ctrl.Result{}, "", err
		}
		revoked = append(revoked, listed...)
	}
	next, due, unlisted := nextCRL(last, revoked, now, end, url, issuer.Ending)
	p.setUnlisted(request, unlisted)
	if due > 0 {
		_, warning, err := p.release(ctx, request, last.crl)
		return ctrl.Result{RequeueAfter: min(due, CheckPeriod)}, join(p.fill(request, last.crl), warning), err
	}
	der, err := authority.SignCRL(next)
	if err != nil {
		return ctrl.Result{}, "", err
	}
	if err := p.write(ctx, request, last, &next, der); err != nil {
		return ctrl.Result{}, "", err
	}
	audit.CRLPublished(ctx, request.Namespace, request.Issuer, request.Name, next.Number.String(), len(next.Entries), next.NextUpdate)
	_, warning, err := p.release(ctx, request, &next)
	return ctrl.Result{RequeueAfter: Interval}, join(p.fill(request, &next), warning), err
}

// listedInShards returns the entries of a CA's shards, for the first complete CRL of the CA: the orders of some may be gone.
func (p *Publisher) listedInShards(ctx context.Context, request issuers.CRLRequest, issuer *issuers.Issuer, authority *ca.Authority) ([]ca.Entry, error) {
	var entries []ca.Entry
	for _, name := range issuer.Shards(authority) {
		request.Name = name
		last, err := p.read(ctx, request, authority.Certificate())
		if err != nil {
			return nil, err
		}
		if last.crl != nil {
			entries = append(entries, last.crl.Entries...)
		}
	}
	return entries, nil
}

// PublishLast publishes the last CRLs of an issuer that is being deleted. done reports that nothing is left to
// publish.
func (p *Publisher) PublishLast(ctx context.Context, key client.ObjectKey, issuer *issuers.Issuer) (done bool, err error) {
	done = true
	for _, name := range issuer.CRLs() {
		request := issuers.CRLRequest{Namespace: key.Namespace, Issuer: key.Name, Name: name}
		result, _, err := p.publish(ctx, request, issuer, issuer.AuthorityOf(name))
		if err != nil {
			return false, err
		}
		done = done && result.RequeueAfter > Interval // Interval means that a CRL was published just now
	}
	return done, nil
}

// fill returns the warning of a shard that is full or nearly full; "" if it has room.
func (p *Publisher) fill(request issuers.CRLRequest, crl *ca.CRL) string {
	p.mu.Lock()
	unlisted := p.unlisted[request]
	p.mu.Unlock()
	switch {
	case crl == nil || len(crl.Entries) < ca.MaxEntries-room:
		return ""
	case unlisted > 0:
		return fmt.Sprintf("is full with %d entries: the CRL lacks later revocations (metric acmeca_crl_unlisted) until listed certificates expire; raise spec.crl.shards, for the certificates to come", len(crl.Entries))
	}
	return fmt.Sprintf("has %d of %d entries: raise spec.crl.shards, for the certificates to come", len(crl.Entries), ca.MaxEntries)
}

// abandoned reconciles a shard of a CA whose key is gone, so that no further CRL can be signed. It releases orders whose
// certificates have expired.
func (p *Publisher) abandoned(ctx context.Context, request issuers.CRLRequest) (ctrl.Result, error) {
	left, _, err := p.release(ctx, request, &ca.CRL{ThisUpdate: p.Clock.Now()})
	if left == 0 {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: CheckPeriod}, err
}

// nextCRL returns the CRL to publish now, or the time until one is due. unlisted is the number of revocations that do not fit.
//
// CRL numbers are seconds since 1970, so that they rise even if a ConfigMap was lost. If the clock was set back, the number is
// one above the last.
func nextCRL(last *publishedCRL, revoked []ca.Entry, now, end time.Time, url string, final bool) (_ ca.CRL, due time.Duration, unlisted int) {
	next := ca.CRL{Number: big.NewInt(now.Unix()), ThisUpdate: now, NextUpdate: end, URLs: urls([]string{url}, nil)}
	if last.crl == nil {
		next.Entries, unlisted = fit(nil, ca.Carry(nil, time.Time{}, revoked))
		return next, 0, unlisted
	}
	if after := new(big.Int).Add(last.crl.Number, big.NewInt(1)); after.Cmp(next.Number) > 0 {
		next.Number = after
	}
	next.Entries, unlisted = fit(last.crl.Entries, ca.Carry(last.crl.Entries, last.crl.ThisUpdate, revoked))
	next.URLs = urls(next.URLs, last.crl.URLs)
	renew := last.crl.ThisUpdate.Add(last.crl.NextUpdate.Sub(last.crl.ThisUpdate) * 2 / 5)
	shortened := last.crl.NextUpdate.After(next.NextUpdate)
	unfinished := final && last.crl.NextUpdate.Before(end.Truncate(time.Second))
	moved := url != "" && !slices.Contains(last.crl.URLs, url)
	if last.configMap != nil && now.Before(renew) && !shortened && !unfinished && !moved && !hasNew(last.crl.Entries, next.Entries) {
		return ca.CRL{}, renew.Sub(now), unlisted
	}
	return next, 0, unlisted
}

// fit returns the entries that a shard has room for, and the number of the others. Listed entries stay, so that no revocation is
// undone. Of the others the earliest revocations are added.
func fit(listed, entries []ca.Entry) (fitting []ca.Entry, unlisted int) {
	unlisted = len(entries) - ca.MaxEntries
	if unlisted <= 0 {
		return entries, 0
	}
	rank := func(e ca.Entry) int {
		if lists(listed, e.Serial) {
			return 0
		}
		return 1
	}
	ranked := slices.SortedStableFunc(slices.Values(entries), func(a, b ca.Entry) int {
		return cmp.Or(rank(a)-rank(b), a.RevokedAt.Compare(b.RevokedAt))
	})
	return ca.Carry(ranked[:ca.MaxEntries], time.Time{}, nil), unlisted
}

// urls returns the current and the former URLs of a shard, each once and none for a complete CRL: certificates name the URL at the time of issuance.
func urls(now, before []string) []string {
	var all []string
	for _, url := range slices.Concat(now, before) {
		if url != "" && !slices.Contains(all, url) {
			all = append(all, url)
		}
	}
	return all[:min(len(all), ca.MaxURLs)]
}

// hasNew reports whether any of the entries is missing in listed, which is sorted by serial number.
func hasNew(listed, entries []ca.Entry) bool {
	return slices.ContainsFunc(entries, func(e ca.Entry) bool { return !lists(listed, e.Serial) })
}

func lists(listed []ca.Entry, serial *big.Int) bool {
	_, found := slices.BinarySearchFunc(listed, serial, func(e ca.Entry, serial *big.Int) int { return e.Serial.Cmp(serial) })
	return found
}

// revoked returns the revoked certificates of the shard whose orders still exist.
func (p *Publisher) revoked(ctx context.Context, request issuers.CRLRequest) ([]ca.Entry, error) {
	var orders v1alpha1.AcmeOrderList
	if err := p.list(ctx, request, &orders); err != nil {
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

func (p *Publisher) list(ctx context.Context, request issuers.CRLRequest, orders *v1alpha1.AcmeOrderList) error {
	return p.Client.List(ctx, orders, client.InNamespace(request.Namespace), client.MatchingFields{kube.IndexRevoked: request.Issuer + "/" + request.Name}, client.UnsafeDisableDeepCopy)
}

// release removes the finalizer of orders whose revocation is in each CRL that has to list it. It returns the number of orders that
// are kept, and a warning if the list of compromised keys is full. Each removal triggers another reconcile, which continues after
// releaseBatch.
func (p *Publisher) release(ctx context.Context, request issuers.CRLRequest, published *ca.CRL) (left int, warning string, err error) {
	var orders v1alpha1.AcmeOrderList
	if err := p.list(ctx, request, &orders); err != nil {
		return 0, "", err
	}
	var going []*v1alpha1.AcmeOrder
	for i := range orders.Items {
		order := &orders.Items[i]
		if !slices.Contains(order.Finalizers, v1alpha1.RevocationFinalizer) {
			continue
		}
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		expired := order.Status.NotAfter != nil && order.Status.NotAfter.Time.Before(published.ThisUpdate)
		if !expired && (!ok || !lists(published.Entries, serial) || !p.listsElsewhere(request, order, serial)) {
			left++
			continue
		}
		going = append(going, order)
	}
	going = going[:min(len(going), releaseBatch)]
	stored, err := p.CompromisedKeys.Keep(ctx, client.ObjectKey{Namespace: request.Namespace, Name: request.Issuer}, going)
	if err != nil {
		return left, "", err
	}
	if kept := len(going) - len(stored); kept > 0 {
		left += kept
		warning = "the list of compromised keys is full: orders with further compromised keys are kept, also if they are deleted"
	}
	var errs []error
	for _, order := range stored {
		// After a conflict, the event of the newer version triggers another reconcile.
		if err := kube.RemoveFinalizer(ctx, p.Client, order); !apierrors.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return left, warning, errors.Join(errs...)
}

// listsElsewhere reports whether the other CRL that has to list an order's certificate lists it: the complete CRL beside the shard, or
// the shard beside the complete CRL. Of two CRLs that are published at the same time, the later one releases the order.
func (p *Publisher) listsElsewhere(request issuers.CRLRequest, order *v1alpha1.AcmeOrder, serial *big.Int) bool {
	other := request.Complete()
	if request.IsComplete() {
		other.Name = order.Status.CRL
	}
	if other == request {
		return true
	}
	p.mu.Lock()
	last := p.published[other]
	p.mu.Unlock()
	return last != nil && last.configMap != nil && lists(last.crl.Entries, serial)
}

// setUnlisted notes how many revocations do not fit a shard.
func (p *Publisher) setUnlisted(request issuers.CRLRequest, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == 0 {
		delete(p.unlisted, request)
		return
	}
	if p.unlisted == nil {
		p.unlisted = map[issuers.CRLRequest]int{}
	}
	p.unlisted[request] = n
}

// Forget removes the CRLs of a deleted issuer from memory.
func (p *Publisher) Forget(issuer client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := func(request issuers.CRLRequest) bool {
		return request.Namespace == issuer.Namespace && request.Issuer == issuer.Name
	}
	maps.DeleteFunc(p.published, func(request issuers.CRLRequest, _ *publishedCRL) bool { return of(request) })
	maps.DeleteFunc(p.unlisted, func(request issuers.CRLRequest, _ int) bool { return of(request) })
}

// join joins the warnings that are not empty.
func join(warnings ...string) string {
	return strings.Join(slices.DeleteFunc(warnings, func(w string) bool { return w == "" }), "; ")
}

// read returns the CRL that was published last: from memory, or from its ConfigMap after a start, a conflict or a change by
// another writer.
func (p *Publisher) read(ctx context.Context, request issuers.CRLRequest, authority *x509.Certificate) (*publishedCRL, error) {
	p.mu.Lock()
	known := p.published[request]
	p.mu.Unlock()
	now := p.Clock.Now()
	if known != nil && known.configMap != nil && now.Sub(known.checked) < CheckPeriod {
		return known, nil
	}
	configMap := &corev1.ConfigMap{}
	if err := p.Client.Get(ctx, request.ConfigMap(), configMap); apierrors.IsNotFound(err) {
		if known == nil {
			return &publishedCRL{}, nil
		}
		return &publishedCRL{crl: known.crl}, nil // the entries are still in memory
	} else if err != nil {
		return nil, err
	}
	if known != nil && known.configMap != nil && known.configMap.ResourceVersion == configMap.ResourceVersion {
		return p.keep(request, &publishedCRL{known.configMap, known.crl, known.size, known.at, now}), nil
	}
	crl, err := parseShard(ctx, configMap, authority)
	switch {
	case err == nil && known != nil && known.crl != nil:
		crl = merge(crl, known.crl)
	case err != nil && known != nil && known.crl != nil:
		logf.FromContext(ctx).Info("rewriting corrupt CRL ConfigMap from memory", "configMap", request.ConfigMap(), "reason", err.Error())
		crl = &ca.CRL{Number: known.crl.Number, URLs: known.crl.URLs, Entries: known.crl.Entries, ThisUpdate: known.crl.ThisUpdate, NextUpdate: known.crl.ThisUpdate}
	case err != nil:
		return nil, err
	}
	return p.keep(request, &publishedCRL{withoutData(configMap), crl, len(configMap.BinaryData[v1alpha1.CRLField]), crl.ThisUpdate, now}), nil
}

// parseShard reads a CRL from its ConfigMap. A ConfigMap without a CRL of this CA is an error, and is not overwritten: an empty
// CRL would undo revocations.
func parseShard(ctx context.Context, configMap *corev1.ConfigMap, authority *x509.Certificate) (*ca.CRL, error) {
	crl, err := ca.ParseCRL(configMap.BinaryData[v1alpha1.CRLField], authority)
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %q holds no CRL of this CA, and none is published until it is restored, or deleted if no deleted order was revoked in it: %w", configMap.Name, err)
	}
	if err := crl.SetExpiries(configMap.BinaryData[v1alpha1.CRLExpiriesField]); err != nil {
		logf.FromContext(ctx).Info("ignoring the expiries beside a CRL, so its entries stay", "configMap", configMap.Name, "reason", err.Error())
	}
	return crl, nil
}

// merge combines a CRL that another writer stored with the entries in memory: a restored CRL may be older and lack some. If so,
// NextUpdate is set to ThisUpdate, so that the next CRL is due at once.
func merge(found, known *ca.CRL) *ca.CRL {
	merged := *found
	merged.URLs = urls(found.URLs, known.URLs)
	if known.Number.Cmp(found.Number) > 0 {
		merged.Number = known.Number
	}
	if hasNew(found.Entries, known.Entries) {
		merged.Entries = ca.Carry(nil, time.Time{}, slices.Concat(found.Entries, known.Entries))
		merged.NextUpdate = merged.ThisUpdate
	}
	return &merged
}

// write stores a CRL. The resourceVersion keeps two controllers from publishing the same number.
func (p *Publisher) write(ctx context.Context, request issuers.CRLRequest, last *publishedCRL, crl *ca.CRL, der []byte) error {
	name := request.ConfigMap()
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{v1alpha1.IssuerLabel: request.Issuer}}}
	write := func() error { return p.Client.Create(ctx, configMap) }
	if last.configMap != nil {
		configMap.ObjectMeta = last.configMap.ObjectMeta
		write = func() error { return p.Client.Update(ctx, configMap) }
	}
	configMap.BinaryData = map[string][]byte{v1alpha1.CRLField: der, v1alpha1.CRLExpiriesField: ca.MarshalExpiries(crl.Entries)}
	if err := write(); err != nil {
		p.keep(request, &publishedCRL{crl: last.crl}) // another controller may have written it: read it again
		return err
	}
	now := p.Clock.Now()
	p.keep(request, &publishedCRL{withoutData(configMap), crl, len(der), now, now})
	return nil
}

func (p *Publisher) keep(request issuers.CRLRequest, published *publishedCRL) *publishedCRL {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.published == nil {
		p.published = map[issuers.CRLRequest]*publishedCRL{}
	}
	p.published[request] = published
	return published
}

func withoutData(configMap *corev1.ConfigMap) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: configMap.ObjectMeta}
}
