// Package crl publishes CRLs in ConfigMaps, and holds the controller of CRLs.
package crl

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/pki"
)

const (
	// Interval is the least time between two CRLs of the same scope. All revocations in between are in the next CRL.
	Interval = time.Second
	// CheckPeriod is how often a published ConfigMap is read: it is not watched, and a person may delete or restore it.
	CheckPeriod = 10 * time.Minute
	// quickSize is the size, in bytes, up to which CRLs follow each other after Interval. Beyond it, they are stored at writeRate
	// bytes a second.
	quickSize = 1 << 20
	writeRate = 200_000
	// largeSize is the size from which the issuer warns of a CRL.
	largeSize = 10 << 20
)

// Publisher publishes the revocations of issuers in ConfigMaps: for each CA a complete CRL, and shards if certificates name
// shards. The CRL is the durable record: an order may be deleted once its revocation is in the CRL. The controllers of CRLs and of
// issuers share a Publisher.
type Publisher struct {
	// Client reads ConfigMaps past every cache, so that the controllers need no right to list them.
	Client          client.Client
	Issuers         *issuers.Registry
	CompromisedKeys *issuers.CompromisedKeys
	Clock           clock.PassiveClock
	// Stored counts the bytes of CRLs in etcd, as budget.Budget.Add does; nil for no count.
	Stored func(kind string, bytes map[types.NamespacedName]int64)

	// ending is held while a CRL of an issuer that is being deleted is published, since two controllers do so.
	ending sync.Mutex

	mu   sync.Mutex
	crls map[issuers.CRLRequest]*state
}

// state is the state of a CRL in memory.
type state struct {
	last *publishedCRL // nil before the CRL is read
	// refused reports that the CRL's successor was signed, and not published because it is wrong.
	refused bool
	// counted are the bytes that Publisher.Stored knows of.
	counted int64
}

// state returns the state of a CRL. The caller holds p.mu.
func (p *Publisher) state(request issuers.CRLRequest) *state {
	if p.crls == nil {
		p.crls = map[issuers.CRLRequest]*state{}
	}
	if p.crls[request] == nil {
		p.crls[request] = &state{}
	}
	return p.crls[request]
}

// outcome is the outcome of a publication that did not fail.
type outcome struct {
	published bool
	// wait is when the CRL is reconciled again.
	wait time.Duration
	// warning is for the issuer's condition.
	warning string
}

// publish signs and stores the next CRL if one is due.
func (p *Publisher) publish(
	ctx context.Context, request issuers.CRLRequest, issuer *issuers.Issuer, authority *ca.Authority,
) (outcome, error) {
	if issuer.Ending {
		p.ending.Lock()
		defer p.ending.Unlock()
	}
	last, err := p.read(ctx, request, authority.Certificate())
	if err != nil {
		return outcome{}, err
	}
	now, interval := p.Clock.Now(), intervalFor(last.size)
	if wait := last.at.Add(interval).Sub(now); wait > 0 && wait <= interval && !issuer.Ending { // unless the clock was set back
		_, warning, err := p.release(ctx, request, last.crl)
		return outcome{wait: wait, warning: join(last.warning(), warning)}, err
	}
	revoked, err := p.revoked(ctx, request, last, issuer, authority)
	if err != nil {
		return outcome{}, err
	}
	next, due := nextCRL(last, revoked, now, endOf(request, issuer, authority, now), urlOf(request, issuer), issuer.Ending)
	if due > 0 {
		p.noteCovers(request, last)
		_, warning, err := p.release(ctx, request, last.crl)
		return outcome{wait: min(due, CheckPeriod), warning: join(last.warning(), warning)}, err
	}
	der, err := authority.SignNextCRL(next, last.entries())
	if err != nil {
		return outcome{}, err
	}
	stored, err := p.store(ctx, request, last, &next, der, authority.Certificate())
	if err != nil {
		return outcome{}, err
	}
	audit.CRLPublished(ctx, request.Namespace, request.Issuer, request.Name, next.Number.String(), len(next.Entries), next.NextUpdate)
	_, warning, err := p.release(ctx, request, &next)
	return outcome{published: true, wait: intervalFor(stored.size), warning: join(stored.warning(), warning)}, err
}

// revoked returns the entries that the next CRL of a CA has to list in addition to the last one.
func (p *Publisher) revoked(
	ctx context.Context, request issuers.CRLRequest, last *publishedCRL, issuer *issuers.Issuer, authority *ca.Authority,
) (ca.Entries, error) {
	revoked, err := p.unlisted(ctx, request, last)
	if err != nil {
		return nil, err
	}
	if last.crl == nil && request.IsComplete() {
		listed, err := p.listedInShards(ctx, request, issuer, authority)
		if err != nil {
			return nil, err
		}
		revoked = revoked.Merge(listed)
	}
	if root, ok := issuer.RootOf(request.Name); ok {
		listed, err := ca.NewEntries(root.Revoked...)
		if err != nil {
			return nil, err
		}
		revoked = revoked.Merge(listed)
	}
	return revoked, nil
}

// intervalFor returns the least time to the CRL after one of a size.
func intervalFor(size int) time.Duration {
	return max(Interval, time.Duration(size-quickSize)*time.Second/writeRate)
}

// endOf returns the nextUpdate of a CRL. The last CRL of an issuer stays valid until the last certificate has expired.
func endOf(request issuers.CRLRequest, issuer *issuers.Issuer, authority *ca.Authority, now time.Time) time.Time {
	if issuer.Ending {
		return authority.NotAfter()
	}
	return now.Add(issuer.CRLLifetime(request.Name))
}

// urlOf returns the URL of a shard, and "" for a complete CRL, which names none.
func urlOf(request issuers.CRLRequest, issuer *issuers.Issuer) string {
	if request.IsComplete() {
		return ""
	}
	return issuer.CRLURL(request.Name)
}

// listedInShards returns the entries of a CA's shards, for the first complete CRL of the CA: the orders of some may be gone.
func (p *Publisher) listedInShards(
	ctx context.Context, request issuers.CRLRequest, issuer *issuers.Issuer, authority *ca.Authority,
) (ca.Entries, error) {
	var entries ca.Entries
	for _, name := range issuer.Shards(authority) {
		request.Name = name
		last, err := p.read(ctx, request, authority.Certificate())
		if err != nil {
			return nil, err
		}
		entries = entries.Merge(last.entries())
	}
	return entries, nil
}

// PublishLast publishes the last CRLs of an issuer that is being deleted. done reports that nothing is left to publish.
func (p *Publisher) PublishLast(ctx context.Context, key client.ObjectKey, issuer *issuers.Issuer) (done bool, err error) {
	done = true
	for _, name := range issuer.CRLs() {
		authority := issuer.AuthorityOf(name)
		if authority == nil {
			continue // a root whose key is not in the cluster
		}
		request := issuers.CRLRequest{Namespace: key.Namespace, Issuer: key.Name, Name: name}
		result, err := p.publish(ctx, request, issuer, authority)
		if err != nil {
			return false, err
		}
		done = done && !result.published
	}
	return done, nil
}

// abandoned reconciles a CRL of a CA whose key is gone, so that no further CRL can be signed. It releases orders whose
// certificates have expired.
func (p *Publisher) abandoned(ctx context.Context, request issuers.CRLRequest) (ctrl.Result, error) {
	left, _, err := p.release(ctx, request, &ca.CRL{ThisUpdate: p.Clock.Now()})
	if left == 0 {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: CheckPeriod}, err
}

// watch reads the CRL of a root whose key is not in the cluster. The warning says that the CRL expires soon.
func (p *Publisher) watch(ctx context.Context, request issuers.CRLRequest, root *x509.Certificate) (outcome, error) {
	last, err := p.read(ctx, request, root)
	if err != nil || last.crl == nil {
		return outcome{wait: CheckPeriod}, err
	}
	result := outcome{wait: CheckPeriod}
	if last.crl.NextUpdate.Sub(p.Clock.Now()) < last.crl.NextUpdate.Sub(last.crl.ThisUpdate)*3/10 {
		result.warning = fmt.Sprintf("the root's CRL expires at %s, and the root's key is missing: put the Secret of the root back", pki.TimeText(last.crl.NextUpdate))
	}
	return result, nil
}

// errRefused is the error of a CRL that was signed and is not published.
var errRefused = errors.New("the next CRL is wrong and not published, and the last one stays")

// store stores a CRL, after a check of the signed bytes against the last CRL.
func (p *Publisher) store(
	ctx context.Context, request issuers.CRLRequest, last *publishedCRL, next *ca.CRL, der []byte, issuer *x509.Certificate,
) (*publishedCRL, error) {
	err := guard(last.crl, der, issuer)
	p.setRefused(request, err != nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	return p.write(ctx, request, last, next, der)
}

func (p *Publisher) setRefused(request issuers.CRLRequest, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state(request).refused = refused
}

// Forget removes the CRLs of a deleted issuer from memory.
func (p *Publisher) Forget(issuer client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.crls, func(request issuers.CRLRequest, _ *state) bool {
		of := request.Namespace == issuer.Namespace && request.Issuer == issuer.Name
		if of {
			p.count(request, 0)
		}
		return of
	})
}

// join joins the warnings that are not empty.
func join(warnings ...string) string {
	return strings.Join(slices.DeleteFunc(warnings, func(w string) bool { return w == "" }), "; ")
}
