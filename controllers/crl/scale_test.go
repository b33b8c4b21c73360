package crl

import (
	"context"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/ca/catest"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// files holds the ConfigMaps of a namespace in a directory, so that they take no memory.
type files struct{ dir string }

func (f files) get(_ context.Context, name string) (*corev1.ConfigMap, error) {
	data, err := os.ReadFile(f.dir + "/" + name)
	if err != nil {
		return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
	}
	configMap := &corev1.ConfigMap{}
	return configMap, configMap.Unmarshal(data)
}

func (f files) Create(_ context.Context, part *corev1.ConfigMap) error {
	data, err := part.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(f.dir+"/"+part.Name, data, 0o600)
}

func (f files) Put(ctx context.Context, head *corev1.ConfigMap) error { return f.Create(ctx, head) }

func (f files) Delete(_ context.Context, name string) error { return os.Remove(f.dir + "/" + name) }

// manyRevoked returns entries with serial numbers of the usual size.
func manyRevoked(t *testing.T, total int, now time.Time) ca.Entries {
	t.Helper()
	random, reasons := rand.New(rand.NewChaCha8([32]byte{1})), []ca.Reason{0, 1, 3, 4, 5, 9}
	var all ca.Entries
	for all == nil || len(all) < total {
		var some []ca.Entry
		for i := range min(50_000, total-len(all)) {
			var serial [16]byte
			binary.BigEndian.PutUint64(serial[:], random.Uint64()|1<<63) // of the full length
			binary.BigEndian.PutUint64(serial[8:], random.Uint64())
			some = append(some, ca.Entry{Serial: new(big.Int).SetBytes(serial[:]), RevokedAt: now.Add(-time.Hour), Reason: reasons[i%len(reasons)], NotAfter: now.Add(time.Hour)})
		}
		all = all.Merge(entries(some...))
	}
	return all
}

// peak calls work, and returns the most bytes that the heap had during it, above those before. It collects garbage often, so that the
// result is close to what is in use.
func peak(work func()) int64 {
	heap := func() int64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	runtime.GC()
	before, most := heap(), int64(0)
	done, watched := make(chan struct{}), sync.WaitGroup{}
	watched.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
				most = max(most, heap()-before)
			}
		}
	})
	work()
	close(done)
	watched.Wait()
	return most
}

// revokedInTest returns the number of revoked certificates: ACMECA_REVOKED, or a hundred thousand.
func revokedInTest(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ACMECA_REVOKED")
	if text == "" {
		return 100_000
	}
	total, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// A complete CRL with many revoked certificates takes one more revocation. Each ConfigMap has room for its part, and no entry is lost. The
// log has the time and the memory of each step. Memory is bounded by the entry: the last list and the next one take 33 bytes each, the
// DER 48, and the expiries 4.
func TestManyRevoked(t *testing.T) {
	const most, fixed = 200, 8 << 20 // bytes an entry, and in all
	total := revokedInTest(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	authority, stored := catest.Authority(t, now), files{t.TempDir()}
	head := &corev1.ConfigMap{}
	head.Name = "ca-crl-0123456789"
	last := &publishedCRL{}
	revoked := manyRevoked(t, total, now)
	step := func(what string, work func() error) {
		t.Helper()
		var err error
		begun := time.Now()
		used := peak(func() { err = work() })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-40s %8s  %4d MB at most, %3d bytes an entry", what, time.Since(begun).Round(time.Millisecond), used>>20, used/int64(total))
		if used > most*int64(total)+fixed {
			t.Errorf("%s: %d bytes for %d entries", what, used, total)
		}
	}
	publish := func() error {
		now = now.Add(10 * time.Minute)
		next, _ := nextCRL(last, revoked, now, now.Add(24*time.Hour), "", false)
		der, err := authority.SignNextCRL(next, last.entries())
		if err != nil {
			return err
		}
		if err := guard(last.crl, der, authority.Certificate()); err != nil {
			return err
		}
		if err := crlstore.Write(t.Context(), stored, head, next.Number.String(), crlstore.Content{DER: der, Expiries: ca.MarshalExpiries(next.Entries)}); err != nil {
			return err
		}
		last = &publishedCRL{head: head, crl: &next, size: len(der)}
		return nil
	}
	step("the first CRL", publish)
	revoked = entries(ca.Entry{Serial: big.NewInt(1), RevokedAt: now, NotAfter: now.Add(time.Hour)})
	step("one more revocation", publish)

	var read *ca.CRL
	step("the read after a restart", func() error {
		_, content, err := crlstore.Read(t.Context(), stored.get, head.Name, nil)
		if err != nil {
			return err
		}
		if read, err = ca.ParseCRL(content.DER, authority.Certificate()); err != nil {
			return err
		}
		return read.SetExpiries(content.Expiries)
	})
	if len(read.Entries) != total+1 || len(last.entries().Without(read.Entries)) > 0 || read.Entries.Find(big.NewInt(1)) == nil {
		t.Errorf("%d of %d certificates are listed", len(read.Entries), total+1)
	}
	names, err := os.ReadDir(stored.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		if info, err := file.Info(); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v", file.Name(), info, err)
		}
	}
	t.Logf("%d entries in %d bytes and %d ConfigMaps, at most every %s", len(read.Entries), last.size, len(names), intervalFor(last.size))
}
