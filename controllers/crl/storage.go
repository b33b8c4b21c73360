package crl

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=delete

// publishedCRL is a CRL as it was last read or written.
type publishedCRL struct {
	head *corev1.ConfigMap // without its binary data; nil if it does not exist
	crl  *ca.CRL           // nil if none is known
	// covers reports that crl lists all revoked orders, but for those that are owed a revocation.
	covers  bool
	size    int       // of the DER, in bytes
	at      time.Time // when it was published
	checked time.Time
}

func (c *publishedCRL) entries() ca.Entries {
	if c.crl == nil {
		return nil
	}
	return c.crl.Entries
}

// lists reports whether the CRL has an entry, or its certificate expired long ago.
func (c *publishedCRL) lists(entry ca.Entry) bool {
	found := c.entries().Find(entry.Serial)
	if found == nil {
		return c.crl != nil && ca.MayLeave(entry.NotAfter, c.crl.ThisUpdate)
	}
	return !entry.RevokedAt.Before(found.RevokedAt()) && !entry.NotAfter.After(found.NotAfter()) && !found.NotAfter().IsZero()
}

// lacks reports whether the CRL lacks the serial number of one of the entries.
func (c *publishedCRL) lacks(entries ca.Entries) bool {
	return slices.ContainsFunc(entries, func(e ca.PackedEntry) bool {
		return !e.MayLeave(c.crl.ThisUpdate) && c.crl.Entries.Find(e.Serial()) == nil
	})
}

// stored returns the bytes of the CRL in etcd. The parts of the former CRL stay for readers that have begun with it.
func (c *publishedCRL) stored() int64 {
	if crlstore.InHead(c.head) {
		return int64(c.size)
	}
	return 2 * int64(c.size)
}

// warning returns the warning of a large CRL, or "".
func (c *publishedCRL) warning() string {
	if c.size < largeSize {
		return ""
	}
	return fmt.Sprintf("has %d entries in %d MB, and takes up a revocation within %s: shorten the lifetimes of certificates, or set spec.crl.shards for those to come",
		len(c.entries()), c.size/1e6, intervalFor(c.size).Round(time.Second))
}

// read returns the CRL that was published last: from memory, or from its ConfigMap after a start, a conflict or a change by
// another writer.
func (p *Publisher) read(ctx context.Context, request issuers.CRLRequest, authority *x509.Certificate) (*publishedCRL, error) {
	p.mu.Lock()
	known := p.state(request).last
	p.mu.Unlock()
	now := p.Clock.Now()
	if known != nil && known.head != nil && now.Sub(known.checked) < CheckPeriod {
		return known, nil
	}
	unchanged := func(head *corev1.ConfigMap) (crlstore.Content, bool) {
		return crlstore.Content{}, known != nil && known.head != nil && known.head.ResourceVersion == head.ResourceVersion
	}
	store := configMaps{p.Client, request.Namespace}
	head, content, err := crlstore.Read(ctx, store.get, request.ConfigMap().Name, unchanged)
	switch {
	case apierrors.IsNotFound(err) && known == nil:
		return &publishedCRL{}, nil
	case apierrors.IsNotFound(err):
		return &publishedCRL{crl: known.crl}, nil // the entries are still in memory
	case err != nil && !errors.Is(err, crlstore.ErrIncomplete):
		return nil, err
	}
	if _, same := unchanged(head); same {
		return p.keep(request, &publishedCRL{head: known.head, crl: known.crl, size: known.size, at: known.at, checked: now}), nil
	}
	if crlstore.IsStarted(head) { // its first writer ended before the CRL was stored
		started := &publishedCRL{head: withoutBinary(head)}
		if known != nil {
			started.crl = known.crl
		}
		return started, nil
	}
	crl, err := parse(ctx, request, head, content, err, authority)
	switch {
	case err == nil && known != nil && known.crl != nil:
		crl = merge(crl, known.crl)
	case err != nil && known != nil && known.crl != nil:
		logf.FromContext(ctx).Info("rewriting corrupt CRL ConfigMap from memory", "configMap", request.ConfigMap(), "reason", err.Error())
		crl = &ca.CRL{Number: known.crl.Number, URLs: known.crl.URLs, Entries: known.crl.Entries, ThisUpdate: known.crl.ThisUpdate,
			NextUpdate: known.crl.ThisUpdate}
	case err != nil:
		return nil, err
	}
	return p.keep(request, &publishedCRL{head: withoutBinary(head), crl: crl, size: len(content.DER), at: crl.ThisUpdate, checked: now}), nil
}

// parse reads a CRL from the content of its ConfigMap. A ConfigMap without a CRL of this CA and scope is an error, and is not
// overwritten: an empty CRL would undo revocations.
func parse(
	ctx context.Context, request issuers.CRLRequest, head *corev1.ConfigMap, content crlstore.Content, err error, authority *x509.Certificate,
) (*ca.CRL, error) {
	var crl *ca.CRL
	if err == nil {
		crl, err = ca.ParseCRL(content.DER, authority)
	}
	if err == nil && request.IsComplete() != (len(crl.URLs) == 0) {
		err = errors.New("it is for other certificates")
	}
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %q holds no CRL of this CA, and none is published until it is restored, or deleted if no deleted order was revoked in it: %w", head.Name, err)
	}
	if err := crl.SetExpiries(content.Expiries); err != nil {
		logf.FromContext(ctx).Info("ignoring the expiries beside a CRL, so its entries stay", "configMap", head.Name, "reason", err.Error())
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
	if len(known.Entries.Without(found.Entries)) > 0 {
		merged.Entries = found.Entries.Merge(known.Entries)
		merged.NextUpdate = merged.ThisUpdate
	}
	return &merged
}

// write stores a CRL. The resourceVersion keeps two controllers from publishing the same number.
func (p *Publisher) write(
	ctx context.Context, request issuers.CRLRequest, last *publishedCRL, crl *ca.CRL, der []byte,
) (*publishedCRL, error) {
	store := configMaps{p.Client, request.Namespace}
	content := crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(crl.Entries)}
	head, err := store.headFor(ctx, request, last, content)
	if err == nil {
		err = crlstore.Write(ctx, store, head, crl.Number.String(), content)
	}
	if err != nil {
		p.keep(request, &publishedCRL{crl: last.crl}) // another controller may have written it: read it again
		return nil, err
	}
	now := p.Clock.Now()
	return p.keep(request, &publishedCRL{head: withoutBinary(head), crl: crl, covers: true, size: len(der), at: now, checked: now}), nil
}

func (p *Publisher) keep(request issuers.CRLRequest, published *publishedCRL) *publishedCRL {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state(request).last = published
	if published.head != nil {
		p.count(request, published.stored())
	}
	return published
}

// noteCovers notes that the last CRL lists all revoked orders, but for those that are owed a revocation.
func (p *Publisher) noteCovers(request issuers.CRLRequest, last *publishedCRL) {
	if last.covers {
		return
	}
	noted := *last
	noted.covers = true
	p.keep(request, &noted)
}

// count tells Stored how many bytes a CRL has in etcd. The caller holds p.mu.
func (p *Publisher) count(request issuers.CRLRequest, bytes int64) {
	if p.Stored == nil {
		return
	}
	state := p.state(request)
	issuer := types.NamespacedName{Namespace: request.Namespace, Name: request.Issuer}
	p.Stored("CRL", map[types.NamespacedName]int64{issuer: bytes - state.counted})
	state.counted = bytes
}

func withoutBinary(head *corev1.ConfigMap) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: head.ObjectMeta, Data: head.Data}
}

// CountShards returns the number of shards of a CA that were published before, for an issuer whose status does not say it.
func (p *Publisher) CountShards(ctx context.Context, issuer client.ObjectKey, authority *x509.Certificate) (int, error) {
	for number := 0; ; number++ {
		name := v1alpha1.CRLConfigMap(issuer.Name, v1alpha1.CRLShardName(authority, number))
		if _, err := (configMaps{p.Client, issuer.Namespace}).get(ctx, name); err != nil {
			return number, client.IgnoreNotFound(err)
		}
	}
}

// configMaps are the ConfigMaps of a namespace.
type configMaps struct {
	client    client.Client
	namespace string
}

func (c configMaps) get(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	err := c.client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, configMap)
	return configMap, err
}

// headFor returns the ConfigMap in which to store content. The head of a CRL that goes from one ConfigMap into parts is read again,
// since it keeps the CRL until the parts are written.
func (c configMaps) headFor(
	ctx context.Context, request issuers.CRLRequest, last *publishedCRL, content crlstore.Content,
) (*corev1.ConfigMap, error) {
	name := request.ConfigMap()
	if last.head == nil {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name,
			Labels: map[string]string{v1alpha1.IssuerLabel: request.Issuer}}}, nil
	}
	if content.Parts() == 0 || !crlstore.InHead(last.head) {
		return last.head.DeepCopy(), nil
	}
	head, err := c.get(ctx, name.Name)
	if err == nil && head.ResourceVersion != last.head.ResourceVersion {
		err = apierrors.NewConflict(corev1.Resource("configmaps"), name.Name, errors.New("another writer has stored a CRL"))
	}
	return head, err
}

// Create implements crlstore.Client.
func (c configMaps) Create(ctx context.Context, part *corev1.ConfigMap) error {
	return c.client.Create(ctx, part)
}

// Put implements crlstore.Client.
func (c configMaps) Put(ctx context.Context, head *corev1.ConfigMap) error {
	if head.ResourceVersion == "" {
		return c.client.Create(ctx, head)
	}
	return c.client.Update(ctx, head)
}

// Delete implements crlstore.Client.
func (c configMaps) Delete(ctx context.Context, name string) error {
	part := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	return client.IgnoreNotFound(c.client.Delete(ctx, part))
}
