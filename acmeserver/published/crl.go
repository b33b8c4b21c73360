package published

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/crlstore"
)

const (
	// crlAge is how long a CRL is served without being read again. A revocation must be visible within two seconds; the
	// controllers may use one of them.
	crlAge = 500 * time.Millisecond
	// crlTimeout bounds the read of a CRL that is in one ConfigMap, and partsTimeout that of one in parts.
	crlTimeout   = 2 * time.Second
	partsTimeout = time.Minute
	// maxCRLs and maxCRLBytes bound the CRLs that are kept. The one that was read last is kept at any size.
	maxCRLs     = 64
	maxCRLBytes = 128 << 20
	// maxFormerBytes bounds the CRLs that are sent to slow clients after the next one was read.
	maxFormerBytes = 128 << 20
	// minCompressed is the size from which a CRL is compressed.
	minCompressed = 1 << 10
)

// CRL is a published CRL.
type CRL struct {
	DER []byte
	// Tag identifies the CRL: a digest of DER.
	Tag                    string
	ThisUpdate, NextUpdate time.Time
	// Gzip returns DER, compressed. It is nil for a CRL that is too small for it.
	Gzip func() []byte
	// Summary describes the CRL. It reads the CRL once.
	Summary func() Summary

	head *corev1.ConfigMap // without its data
	// readers is the number of clients that it is sent to, and cut reports that this must end.
	readers atomic.Int64
	cut     atomic.Bool
	// zipped is the size of the compressed form, if it was asked for.
	zipped atomic.Int64
}

// size returns the bytes that the CRL takes in memory.
func (c *CRL) size() int { return len(c.DER) + int(c.zipped.Load()) }

// ErrCut ends the sending of a former CRL that must leave memory.
var ErrCut = errors.New("a newer CRL was published while this one was sent")

// Send calls write with a writer to w. The writer fails with ErrCut once the CRL must leave memory.
func (c *CRL) Send(w io.Writer, write func(io.Writer) error) error {
	c.readers.Add(1)
	defer c.readers.Add(-1)
	return write(sending{c, w})
}

type sending struct {
	crl *CRL
	w   io.Writer
}

// pieceSize is the number of bytes, at most, that are sent before a CRL leaves memory.
const pieceSize = 256 << 10

// Write implements io.Writer.
func (s sending) Write(data []byte) (written int, err error) {
	for len(data) > 0 {
		if s.crl.cut.Load() {
			return written, ErrCut
		}
		n, err := s.w.Write(data[:min(len(data), pieceSize)])
		if written += n; err != nil {
			return written, err
		}
		data = data[n:]
	}
	return written, nil
}

func newCRL(head *corev1.ConfigMap, der []byte) *CRL {
	sum := sha256.Sum256(der)
	crl := &CRL{DER: der, Tag: hex.EncodeToString(sum[:16]), head: &corev1.ConfigMap{ObjectMeta: head.ObjectMeta}}
	crl.ThisUpdate, crl.NextUpdate = updatesOf(der)
	crl.Summary = sync.OnceValue(func() Summary { return summaryOf(der) })
	if len(der) >= minCompressed {
		crl.Gzip = sync.OnceValue(func() []byte {
			zipped := compress(der)
			crl.zipped.Store(int64(cap(zipped)))
			return zipped
		})
	}
	return crl
}

func compress(data []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(data)/2 + len(data)/8)
	w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level exists
	_, _ = w.Write(data)                              // a buffer takes all
	_ = w.Close()
	return out.Bytes()
}

// updatesOf returns thisUpdate and nextUpdate of a CRL, without reading the entries. They are zero if the CRL can't be read.
func updatesOf(der []byte) (thisUpdate, nextUpdate time.Time) {
	var list, signed cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&list, cryptobyteasn1.SEQUENCE) || !list.ReadASN1(&signed, cryptobyteasn1.SEQUENCE) ||
		!signed.SkipOptionalASN1(cryptobyteasn1.INTEGER) || !signed.SkipASN1(cryptobyteasn1.SEQUENCE) ||
		!signed.SkipASN1(cryptobyteasn1.SEQUENCE) || !readTime(&signed, &thisUpdate) ||
		!readTime(&signed, &nextUpdate) {
		return time.Time{}, time.Time{}
	}
	return thisUpdate, nextUpdate
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(cryptobyteasn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

type cachedCRL struct {
	// copy is the CRL that was read last; nil if there was none.
	copy atomic.Pointer[CRL]

	mu     sync.Mutex // held during a read, so that concurrent requests cost one read
	readAt time.Time
	// err is the error of the last read.
	err error
}

// read reads the CRL from its ConfigMap. It does not end with the client's request, since others wait for the same read.
func (c *cachedCRL) read(ctx context.Context, live client.Reader, name types.NamespacedName, now time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partsTimeout)
	defer cancel()
	get := func(ctx context.Context, part string) (*corev1.ConfigMap, error) {
		ctx, cancel := context.WithTimeout(ctx, crlTimeout)
		defer cancel()
		configMap := &corev1.ConfigMap{}
		return configMap, live.Get(ctx, types.NamespacedName{Namespace: name.Namespace, Name: part}, configMap)
	}
	known := c.copy.Load()
	unchanged := func(head *corev1.ConfigMap) (crlstore.Content, bool) {
		return crlstore.Content{}, known != nil && known.head.UID == head.UID && known.head.ResourceVersion == head.ResourceVersion &&
			head.ResourceVersion != ""
	}
	head, content, err := crlstore.Read(ctx, get, name.Name, unchanged)
	c.readAt, c.err = now, store.Failure("CRL", client.IgnoreNotFound(err))
	if c.err != nil {
		return
	}
	if apierrors.IsNotFound(err) {
		c.copy.Store(nil)
	} else if _, same := unchanged(head); !same && content.DER == nil {
		c.copy.Store(nil)
	} else if !same {
		c.copy.Store(newCRL(head, content.DER))
	}
}

// CRL returns the issuer's CRL of a name. While the API server cannot be asked, it returns the last copy until the copy's nextUpdate.
// While a request reads the CRL, others get the last copy. The errors are store.ErrNotFound and store.ErrUnavailable. Callers ask only
// for CRLs that the issuer can have.
func (p *ConfigMaps) CRL(ctx context.Context, issuer types.NamespacedName, crl string, now time.Time) (*CRL, error) {
	name := types.NamespacedName{Namespace: issuer.Namespace, Name: v1alpha1.CRLConfigMap(issuer.Name, crl)}
	cached := p.crl(name)
	if !cached.mu.TryLock() {
		if last := cached.copy.Load(); last != nil && now.Before(last.NextUpdate) {
			return last, nil
		}
		cached.mu.Lock()
	}
	defer cached.mu.Unlock()
	if age := now.Sub(cached.readAt); age < 0 || age >= crlAge {
		before := cached.copy.Load()
		cached.read(ctx, p.live, name, now)
		p.evict(name)
		if before != nil && before != cached.copy.Load() {
			p.mu.Lock()
			p.retire(before)
			p.mu.Unlock()
		}
	}
	last := cached.copy.Load()
	switch {
	case cached.err != nil && (last == nil || !now.Before(last.NextUpdate)):
		return nil, cached.err
	case last == nil:
		return nil, store.NotFound("CRL")
	}
	return last, nil
}

func (p *ConfigMaps) crl(name types.NamespacedName) *cachedCRL {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cached, ok := p.crls[name]; ok {
		return cached
	}
	if len(p.crls) >= maxCRLs {
		p.drop(func(types.NamespacedName) bool { return true })
	}
	cached := &cachedCRL{}
	p.crls[name] = cached
	return cached
}

// drop drops CRLs, which are read again on demand. The caller holds p.mu.
func (p *ConfigMaps) drop(which func(types.NamespacedName) bool) {
	maps.DeleteFunc(p.crls, func(name types.NamespacedName, cached *cachedCRL) bool {
		if !which(name) {
			return false
		}
		if crl := cached.copy.Load(); crl != nil {
			p.retire(crl)
		}
		return true
	})
}

// evict drops all CRLs but one if they take too much memory.
func (p *ConfigMaps) evict(read types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := 0
	for _, cached := range p.crls {
		if crl := cached.copy.Load(); crl != nil {
			size += crl.size()
		}
	}
	if size > maxCRLBytes {
		p.drop(func(name types.NamespacedName) bool { return name != read })
	}
}

// retire notes a CRL that was replaced or dropped. If slow clients keep too many such CRLs in memory, it ends the sending of the oldest.
// The caller holds p.mu.
func (p *ConfigMaps) retire(crl *CRL) {
	p.former = slices.DeleteFunc(append(p.former, weak.Make(crl)), func(former weak.Pointer[CRL]) bool {
		crl := former.Value()
		return crl == nil || crl.cut.Load()
	})
	size := 0
	for _, former := range slices.Backward(p.former) {
		if crl := former.Value(); crl != nil && crl.readers.Load() > 0 {
			if size += crl.size(); size > maxFormerBytes {
				crl.cut.Store(true)
			}
		}
	}
}
