// Package crlstore is the form in which CRLs are stored. A CRL that one ConfigMap has room for is in its head alone. A larger one
// is in parts, ConfigMaps of their own, which the head names together with the digest of the whole.
//
// The parts of a CRL are written before the head, so the write of the head switches from one CRL to the next. The parts of the
// CRL before stay until the next switch, for readers that have read the head before the switch.
package crlstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// PartSize bounds the DER in a ConfigMap, in bytes. The expiries beside it take at most an eighth of that, and an object has
	// room for 1 MiB.
	PartSize = 896 << 10
	// maxParts bounds the parts of a CRL: 3.5 GiB.
	maxParts = 4096
	// attempts bounds how often a CRL is read that changes meanwhile.
	attempts = 3
)

// The keys in the data of a head.
const (
	manifestField = "manifest" // of the CRL, if it is in parts
	beforeField   = "before"   // the generation of the CRL before, if that is in parts
	nextField     = "next"     // the generation whose parts are being written
)

// Generation names the parts of a CRL: its number, and how many parts there are.
type Generation struct {
	Number string
	Parts  int
}

func (g Generation) String() string { return fmt.Sprintf("%s %d", g.Number, g.Parts) }

func parseGeneration(text string) Generation {
	var g Generation
	if _, err := fmt.Sscanf(text, "%s %d", &g.Number, &g.Parts); err != nil || !g.valid() {
		return Generation{}
	}
	return g
}

func (g Generation) valid() bool {
	return g.Parts > 0 && g.Parts <= maxParts && g.Number != "" && strings.Trim(g.Number, "0123456789") == ""
}

// Names returns the names of the generation's ConfigMaps.
func (g Generation) Names(head string) []string {
	var names []string
	for part := range g.Parts {
		names = append(names, fmt.Sprintf("%s-%s-%d", head, g.Number, part))
	}
	return names
}

// Content is a CRL with the expiries of its entries.
type Content struct{ DER, Expiries []byte }

// Size returns the number of bytes of the CRL and of the expiries.
func (c Content) Size() int { return len(c.DER) + len(c.Expiries) }

// digest returns the SHA-256 of CRL and expiries.
func (c Content) digest() string {
	h := sha256.New()
	h.Write(c.DER)
	h.Write(c.Expiries)
	return hex.EncodeToString(h.Sum(nil))
}

// Parts returns the number of parts for the content; 0 if the head has room for it.
func (c Content) Parts() int {
	if len(c.DER) <= PartSize && len(c.Expiries) <= PartSize/8 {
		return 0
	}
	return max((len(c.DER)+PartSize-1)/PartSize, (len(c.Expiries)+PartSize/8-1)/(PartSize/8))
}

// part returns the binary data of one of several parts.
func (c Content) part(n, parts int) map[string][]byte {
	of := func(all []byte) []byte {
		size := (len(all) + parts - 1) / parts
		return all[min(n*size, len(all)):min((n+1)*size, len(all))]
	}
	return map[string][]byte{v1alpha1.CRLField: of(c.DER), v1alpha1.CRLExpiriesField: of(c.Expiries)}
}

// manifest describes content in parts.
type manifest struct {
	Generation
	Size   int
	Digest string
}

func (m manifest) String() string { return fmt.Sprintf("%s %d %s", m.Generation, m.Size, m.Digest) }

// generationOf returns the generation that a head names; the zero Generation if its CRL is in the head.
func generationOf(head *corev1.ConfigMap) Generation {
	m, err := manifestOf(head)
	if err != nil {
		return Generation{}
	}
	return m.Generation
}

func manifestOf(head *corev1.ConfigMap) (manifest, error) {
	var m manifest
	_, err := fmt.Sscanf(head.Data[manifestField], "%s %d %d %s", &m.Number, &m.Parts, &m.Size, &m.Digest)
	if err != nil || !m.valid() || m.Size < m.Parts {
		return manifest{}, fmt.Errorf("ConfigMap %q: %w", head.Name, ErrIncomplete)
	}
	return m, nil
}

// InHead reports whether a head names no parts, so that it holds the CRL itself.
func InHead(head *corev1.ConfigMap) bool { return head.Data[manifestField] == "" }

// IsStarted reports whether a head was made for a CRL whose parts were not all written.
func IsStarted(head *corev1.ConfigMap) bool {
	return InHead(head) && head.BinaryData[v1alpha1.CRLField] == nil && head.Data[nextField] != ""
}

// ErrIncomplete is the error of a CRL without the parts that its head names.
var ErrIncomplete = errors.New("the parts of the CRL are missing or others")

// Get returns a ConfigMap by its name, in the namespace of the CRL.
type Get func(ctx context.Context, name string) (*corev1.ConfigMap, error)

// Read returns a CRL's head and content. The content is whole, and never of two CRLs: if the head changes during the read, Read
// starts again. known returns the content of a head that was read before, if any, and may be nil.
func Read(
	ctx context.Context, get Get, name string, known func(head *corev1.ConfigMap) (Content, bool),
) (*corev1.ConfigMap, Content, error) {
	for try := 1; ; try++ {
		head, err := get(ctx, name)
		if err != nil {
			return nil, Content{}, err
		}
		if known != nil {
			if content, ok := known(head); ok {
				return head, content, nil
			}
		}
		content, err := contentOf(ctx, get, head)
		if err == nil || try == attempts || !errors.Is(err, ErrIncomplete) {
			return head, content, err
		}
	}
}

// contentOf reads the content of a head. A missing part is not a missing CRL, so the error is ErrIncomplete.
func contentOf(ctx context.Context, get Get, head *corev1.ConfigMap) (Content, error) {
	if InHead(head) {
		return Content{head.BinaryData[v1alpha1.CRLField], head.BinaryData[v1alpha1.CRLExpiriesField]}, nil
	}
	m, err := manifestOf(head)
	if err != nil {
		return Content{}, err
	}
	var content Content
	for _, name := range m.Names(head.Name) {
		part, err := get(ctx, name)
		if apierrors.IsNotFound(err) {
			return Content{}, fmt.Errorf("ConfigMap %q is missing: %w", name, ErrIncomplete)
		}
		if err != nil {
			return Content{}, err
		}
		if content.DER == nil {
			content.DER = make([]byte, 0, len(part.BinaryData[v1alpha1.CRLField])*m.Parts)
		}
		content.DER = append(content.DER, part.BinaryData[v1alpha1.CRLField]...)
		content.Expiries = append(content.Expiries, part.BinaryData[v1alpha1.CRLExpiriesField]...)
		if content.Size() > m.Size {
			return Content{}, ErrIncomplete
		}
	}
	if content.Size() != m.Size || content.digest() != m.Digest {
		return Content{}, ErrIncomplete
	}
	return content, nil
}

// Client writes ConfigMaps in the namespace of the CRL. Put creates the head if it has no resourceVersion, or else updates that
// version. Delete ignores a ConfigMap that does not exist.
type Client interface {
	Create(ctx context.Context, part *corev1.ConfigMap) error
	Put(ctx context.Context, head *corev1.ConfigMap) error
	Delete(ctx context.Context, name string) error
}

// Write stores the CRL of a number under a head, and deletes the parts that no reader needs any more. The head is as it was read
// or written last, or new; it is changed. Of two writers at a time, the one that writes the head later fails with a conflict.
func Write(ctx context.Context, client Client, head *corev1.ConfigMap, number string, content Content) error {
	published, before, unfinished := generationOf(head), parseGeneration(head.Data[beforeField]), parseGeneration(head.Data[nextField])
	next := Generation{number, content.Parts()}
	if next.Parts > 0 {
		if next == unfinished { // of a writer that may still be at work
			return fmt.Errorf("the parts of CRL %s of %q are being written", number, head.Name)
		}
		setData(head, nextField, next.String()) // so that the next writer deletes the parts if this one ends now
		if err := client.Put(ctx, head); err != nil {
			return err
		}
		if err := writeParts(ctx, client, head, next, content); err != nil {
			return err
		}
		head.BinaryData = nil
		setData(head, manifestField, manifest{next, content.Size(), content.digest()}.String())
	} else {
		head.BinaryData = map[string][]byte{v1alpha1.CRLField: content.DER, v1alpha1.CRLExpiriesField: content.Expiries}
		setData(head, manifestField, "")
	}
	setData(head, nextField, "")
	setData(head, beforeField, "")
	if published.Parts > 0 {
		setData(head, beforeField, published.String())
	}
	if err := client.Put(ctx, head); err != nil {
		return err
	}
	for _, old := range []Generation{before, unfinished} {
		if old == published || old == next {
			continue
		}
		for _, name := range old.Names(head.Name) {
			if err := client.Delete(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeParts(ctx context.Context, client Client, head *corev1.ConfigMap, next Generation, content Content) error {
	for n, name := range next.Names(head.Name) {
		part := &corev1.ConfigMap{BinaryData: content.part(n, next.Parts)}
		part.Namespace, part.Name, part.Labels = head.Namespace, name, head.Labels
		err := client.Create(ctx, part)
		if apierrors.IsAlreadyExists(err) { // left by a writer that ended
			if err = client.Delete(ctx, name); err == nil {
				err = client.Create(ctx, part)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setData(head *corev1.ConfigMap, key, value string) {
	if value == "" {
		delete(head.Data, key)
		return
	}
	if head.Data == nil {
		head.Data = map[string]string{}
	}
	head.Data[key] = value
}

// PartsOf returns the names of all parts that belong to a head.
func PartsOf(head *corev1.ConfigMap) []string {
	var names []string
	for _, g := range []Generation{generationOf(head), parseGeneration(head.Data[beforeField]), parseGeneration(head.Data[nextField])} {
		names = append(names, g.Names(head.Name)...)
	}
	return names
}
