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
	head    *corev1.ConfigMap // without its binary data; nil if it does not exist
	crl     *ca.CRL           // nil if none is known
	size    int               // of the DER, in bytes
	at      time.Time         // when it was published
	checked time.Time
}

func (c *publishedCRL) entries() []ca.Entry {
	if c.crl == nil {
		return nil
	}
	return c.crl.Entries
}

// stored returns the bytes of the CRL in etcd. The parts of the former CRL stay for readers that have begun with it.
func (c *publishedCRL) stored() int64 {
	if c.size > quickSize {
		return 2 * int64(c.size)
	}
	return int64(c.size)
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
	known := p.published[request]
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
		return p.keep(request, &publishedCRL{known.head, known.crl, known.size, known.at, now}), nil
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
	return p.keep(request, &publishedCRL{withoutBinary(head), crl, len(content.DER), crl.ThisUpdate, now}), nil
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
	if hasNew(found.Entries, known.Entries) {
		merged.Entries = ca.Carry(nil, time.Time{}, slices.Concat(found.Entries, known.Entries))
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
	return p.keep(request, &publishedCRL{withoutBinary(head), crl, len(der), now, now}), nil
}

func (p *Publisher) keep(request issuers.CRLRequest, published *publishedCRL) *publishedCRL {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.published == nil {
		p.published = map[issuers.CRLRequest]*publishedCRL{}
	}
	p.published[request] = published
	if published.head != nil {
		p.count(request, published.stored())
	}
	return published
}

// count tells Stored how many bytes a CRL has in etcd. The caller holds p.mu.
func (p *Publisher) count(request issuers.CRLRequest, bytes int64) {
	if p.Stored == nil {
		return
	}
	if p.counted == nil {
		p.counted = map[issuers.CRLRequest]int64{}
	}
	issuer := types.NamespacedName{Namespace: request.Namespace, Name: request.Issuer}
	p.Stored("CRL", map[types.NamespacedName]int64{issuer: bytes - p.counted[request]})
	if p.counted[request] = bytes; bytes == 0 {
		delete(p.counted, request)
	}
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
