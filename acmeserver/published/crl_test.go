package published

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// publish stores a CRL as the controllers do.
func (c *configMaps) publish(t *testing.T, head *corev1.ConfigMap, number string, der []byte) {
	t.Helper()
	if err := crlstore.Write(t.Context(), writes{c}, head, number, crlstore.Content{DER: der}); err != nil {
		t.Fatal(err)
	}
}

type writes struct{ *configMaps }

func (w writes) Create(_ context.Context, part *corev1.ConfigMap) error {
	w.held[client.ObjectKeyFromObject(part)] = part.DeepCopy()
	return nil
}

func (w writes) Put(_ context.Context, head *corev1.ConfigMap) error {
	version, _ := strconv.Atoi(head.ResourceVersion)
	head.ResourceVersion = strconv.Itoa(version + 1)
	w.held[client.ObjectKeyFromObject(head)] = head.DeepCopy()
	return nil
}

func (w writes) Delete(_ context.Context, name string) error {
	delete(w.held, types.NamespacedName{Namespace: "ns", Name: name})
	return nil
}

func headOf(crl string) *corev1.ConfigMap {
	head := &corev1.ConfigMap{}
	head.Namespace, head.Name = "ns", v1alpha1.CRLConfigMap("ca", crl)
	return head
}

// A CRL in parts is read once, whole, and again only if another one was published. Without a part, the last copy is served.
func TestACRLInParts(t *testing.T) {
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{}}
	p, now := New(live), time.Now()
	first := append(signedCRL(t, now, now.Add(time.Hour)), make([]byte, 2*crlstore.PartSize)...)
	second := append(signedCRL(t, now, now.Add(2*time.Hour)), make([]byte, 3*crlstore.PartSize)...)
	head := headOf("0")
	live.publish(t, head, "1", first)
	read := func(at time.Duration, want []byte, reads int) {
		t.Helper()
		live.reads = 0
		crl, err := p.CRL(t.Context(), theIssuer, "0", now.Add(at))
		if err != nil || !bytes.Equal(crl.DER, want) || live.reads != reads {
			t.Fatalf("%v after %d reads", err, live.reads)
		}
	}
	read(0, first, 4)
	read(crlAge-1, first, 0)
	read(crlAge, first, 1)
	live.publish(t, head, "2", second)
	read(2*crlAge, second, 5)
	tag := must(p.CRL(t.Context(), theIssuer, "0", now.Add(2*crlAge))).Tag

	live.publish(t, head, "3", first)
	delete(live.held, types.NamespacedName{Namespace: "ns", Name: crlstore.PartsOf(head)[0]})
	if crl, err := p.CRL(t.Context(), theIssuer, "0", now.Add(3*crlAge)); err != nil || crl.Tag != tag {
		t.Errorf("without a part: %v, %v", crl, err)
	}
	if _, err := p.CRL(t.Context(), theIssuer, "0", now.Add(3*time.Hour)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without a part, after nextUpdate: %v", err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// While one request reads the next CRL, others get the last one.
func TestRequestsDoNotWaitForALargeCRL(t *testing.T) {
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{}}
	p, now := New(live), time.Now()
	live.publish(t, headOf("0"), "1", signedCRL(t, now, now.Add(time.Hour)))
	first := must(p.CRL(t.Context(), theIssuer, "0", now))
	reading := p.crl(types.NamespacedName{Namespace: "ns", Name: v1alpha1.CRLConfigMap("ca", "0")})
	reading.mu.Lock()
	defer reading.mu.Unlock()
	if again, err := p.CRL(t.Context(), theIssuer, "0", now.Add(time.Minute)); err != nil || again != first {
		t.Errorf("%v, %v", again, err)
	}
}

// Large CRLs of many issuers don't add up in memory.
func TestCRLsInMemoryAreBounded(t *testing.T) {
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{}}
	p, now := New(live), time.Now()
	der := append(signedCRL(t, now, now.Add(time.Hour)), make([]byte, maxCRLBytes/3)...)
	for i := range 8 {
		name := fmt.Sprint(i)
		live.held = map[types.NamespacedName]*corev1.ConfigMap{}
		live.publish(t, headOf(name), "1", der)
		if _, err := p.CRL(t.Context(), theIssuer, name, now); err != nil {
			t.Fatal(err)
		}
		if len(p.crls) > 3 {
			t.Errorf("%d CRLs of %d bytes are kept", len(p.crls), len(der))
		}
	}
}

func TestCompressedCRL(t *testing.T) {
	now := time.Now()
	der := append(signedCRL(t, now, now.Add(time.Hour)), make([]byte, minCompressed)...)
	crl := newCRL(headOf("0"), der)
	r, err := gzip.NewReader(bytes.NewReader(crl.Gzip()))
	if err != nil {
		t.Fatal(err)
	}
	if got := must(io.ReadAll(r)); !bytes.Equal(got, der) {
		t.Errorf("%d of %d bytes", len(got), len(der))
	}
	if small := newCRL(headOf("0"), der[:100]); small.Gzip != nil {
		t.Error("a small CRL is compressed")
	}
}

// FuzzUpdatesOf searches for panics.
func FuzzUpdatesOf(f *testing.F) {
	f.Add([]byte("0\x030\x01\x02"))
	f.Fuzz(func(_ *testing.T, der []byte) { updatesOf(der) })
}

func TestUpdatesOf(t *testing.T) {
	for _, year := range []int{2030, 2060} {
		at := time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)
		if this, next := updatesOf(signedCRL(t, at, at.Add(time.Hour))); !this.Equal(at) || !next.Equal(at.Add(time.Hour)) {
			t.Errorf("%v and %v", this, next)
		}
	}
}

// blocked is a client that has taken a first piece and stopped until more is closed.
type blocked struct {
	started chan struct{}
	more    chan struct{}
	once    sync.Once
}

func (b *blocked) Write(data []byte) (int, error) {
	b.once.Do(func() { close(b.started) })
	<-b.more
	return len(data), nil
}

// Slow clients don't keep one CRL after the other in memory: the sending of the oldest ends.
func TestFormerCRLsInMemoryAreBounded(t *testing.T) {
	now := time.Now()
	replaced := func(n int, _ *ConfigMaps) time.Time { return now.Add(time.Duration(n) * crlAge) }
	dropped := func(_ int, p *ConfigMaps) time.Time { // as by requests for the CRLs of many issuers or shards
		for i := range maxCRLs {
			_, _ = p.CRL(t.Context(), theIssuer, strconv.Itoa(i+1), now)
		}
		return now
	}
	t.Run("replaced", func(t *testing.T) { sendFormerCRLs(t, now, replaced) })
	t.Run("dropped", func(t *testing.T) { sendFormerCRLs(t, now, dropped) })
}

// sendFormerCRLs reads a CRL again and again, and sends each to a slow client. again makes the next read necessary, and returns its time.
func sendFormerCRLs(t *testing.T, now time.Time, again func(n int, p *ConfigMaps) time.Time) {
	t.Helper()
	live := &configMaps{held: map[types.NamespacedName]*corev1.ConfigMap{}}
	p := New(live)
	padding := make([]byte, maxFormerBytes/2)
	var sent []chan error
	more, head := make(chan struct{}), headOf("0")
	for n := range 4 {
		at := again(n, p)
		live.publish(t, head, fmt.Sprint(n+1), append(signedCRL(t, now, now.Add(time.Duration(n+1)*time.Hour)), padding[n:]...))
		crl := must(p.CRL(t.Context(), theIssuer, "0", at))
		client, result := &blocked{started: make(chan struct{}), more: more}, make(chan error, 1)
		go func() {
			result <- crl.Send(client, func(w io.Writer) error { _, err := w.Write(crl.DER); return err })
		}()
		<-client.started
		sent = append(sent, result)
	}
	close(more)
	for n, result := range sent {
		if err := <-result; errors.Is(err, ErrCut) != (n < 2) {
			t.Errorf("CRL %d of 4: %v", n+1, err)
		}
	}
}
