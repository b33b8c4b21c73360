package keyservice_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/keyservice"
	server "github.com/acmeca/acmeca/internal/keyservice"
	testservice "github.com/acmeca/acmeca/internal/test/keyservice"
)

// world is a key service with a client.
type world struct {
	*testservice.Service
	*keyservice.Client
	clock   *testingclock.FakePassiveClock
	mu      sync.Mutex
	results []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	service, err := testservice.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	w := &world{Service: service, clock: testingclock.NewFakePassiveClock(time.Unix(1e9, 0))}
	w.Client, err = keyservice.New(keyservice.Config{Socket: service.Socket, Timeout: 500 * time.Millisecond, InFlight: 2, Clock: w.clock,
		Observe: func(operation, result string, _ time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results = append(w.results, operation+" "+result)
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Client.Close() })
	return w
}

func (w *world) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.results[len(w.results)-1]
}

func (w *world) key(t *testing.T, name string) *keyservice.Signer {
	t.Helper()
	key, err := w.Client.Generate(context.Background(), name, pb.KeyType_KEY_TYPE_ECDSA_P256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(key crypto.Signer) ([]byte, error) {
	digest := sha256.Sum256([]byte("to be signed"))
	return key.Sign(nil, digest[:], crypto.SHA256)
}

// failure returns the *Error in err.
func failure(t *testing.T, err error) *keyservice.Error {
	t.Helper()
	found, ok := errors.AsType[*keyservice.Error](err)
	if !ok {
		t.Fatalf("%v is no failure of the key service", err)
	}
	return found
}

func TestSignsWithEachTypeOfKey(t *testing.T) {
	w := newWorld(t)
	for keyType, hash := range map[pb.KeyType]crypto.Hash{
		pb.KeyType_KEY_TYPE_RSA_2048: crypto.SHA256, pb.KeyType_KEY_TYPE_ECDSA_P256: crypto.SHA256, pb.KeyType_KEY_TYPE_ECDSA_P384: crypto.SHA384,
		pb.KeyType_KEY_TYPE_ECDSA_P521: crypto.SHA512, pb.KeyType_KEY_TYPE_ED25519: 0,
	} {
		key, err := w.Client.Generate(context.Background(), "ns.key", keyType)
		if err != nil {
			t.Fatal(err)
		}
		// The package ca uses a key through crypto/x509, for a request that it verifies.
		if _, err := ca.NewCARequest(ca.CASubject("A CA", ""), key); err != nil {
			t.Errorf("%s with %s: %v", keyType, hash, err)
		}
		again, err := w.Client.Generate(context.Background(), "ns.key", keyType)
		if err != nil || !again.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("%s: a repeated request made another key: %v", keyType, err)
		}
		if err := os.Remove(filepath.Join(w.Dir, "ns.key.pem")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusesAnotherTypeUnderTheSameName(t *testing.T) {
	w := newWorld(t)
	w.key(t, "ns.key")
	_, err := w.Client.Generate(context.Background(), "ns.key", pb.KeyType_KEY_TYPE_ECDSA_P384)
	if failure(t, err).Retry || w.last() != "generate alreadyexists" {
		t.Errorf("%v, %s", err, w.last())
	}
}

func TestSignsOnlyWhatFitsTheKey(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "ns.key")
	digest := sha512.Sum384([]byte("x"))
	if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA384); err == nil {
		t.Error("a P-256 key signed a digest of SHA-384")
	}
}

func TestRefusesWrongSignatures(t *testing.T) {
	w := newWorld(t)
	key, other := w.key(t, "ns.key"), w.key(t, "ns.other")
	foreign, err := sign(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, lie := range map[string]func([]byte) []byte{
		"damaged":        func(s []byte) []byte { s[len(s)-1] ^= 1; return s },
		"of another key": func([]byte) []byte { return foreign },
		"empty":          func([]byte) []byte { return nil },
		"too large":      func(s []byte) []byte { return append(s, bytes.Repeat([]byte{0}, 4096)...) },
	} {
		w.Lie(lie)
		signature, err := sign(key)
		if signature != nil || failure(t, err).Retry || w.last() != "sign wrong" {
			t.Errorf("%s: %x, %v, %s", name, signature, err, w.last())
		}
	}
	w.Lie(nil)
	if _, err := sign(key); err != nil {
		t.Errorf("after the lies: %v", err)
	}
}

func TestSaysRetryOrGiveUp(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "ns.key")
	for _, test := range []struct {
		fault  error
		retry  bool
		result string
	}{
		{server.ErrUnavailable, true, "sign unavailable"},
		{context.DeadlineExceeded, true, "sign deadlineexceeded"},
		{server.ErrNotFound, false, "sign notfound"},
		{server.ErrUnsupported, false, "sign invalidargument"},
		{errors.New("the PIN is wrong"), false, "sign failedprecondition"},
	} {
		w.clock.SetTime(w.clock.Now().Add(time.Minute)) // past the pause
		w.Fail(test.fault)
		_, err := sign(key)
		if failure(t, err).Retry != test.retry || w.last() != test.result {
			t.Errorf("%v: %v, %s", test.fault, err, w.last())
		}
	}
}

func TestBoundsCallsOfAStalledService(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "ns.key")
	w.Stall()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := sign(key); !failure(t, err).Retry {
				t.Error(err)
			}
		})
	}
	group.Wait()
	made := len(w.results)
	for range 100 { // during the pause no call is made
		if _, err := sign(key); err == nil {
			t.Fatal("a stalled service signed")
		}
	}
	if len(w.results) != made {
		t.Errorf("%d calls during the pause", len(w.results)-made)
	}
	if w.Usable() == nil {
		t.Error("a service that stalls is worth a call")
	}
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	if lasted, err := w.Outage(); err == nil || lasted != time.Minute {
		t.Errorf("outage %v for %v", err, lasted)
	}
	w.Resume()
	if _, err := sign(key); err != nil {
		t.Errorf("after the stall: %v", err)
	}
	if _, err := w.Outage(); err != nil {
		t.Errorf("outage after a success: %v", err)
	}
}

func TestACanceledCallIsNoOutage(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 10 { // a free slot and the cancellation are both there: either may be seen first
		if err := w.Client.Check(ctx); err == nil {
			t.Fatal("no error")
		}
	}
	if _, err := w.Outage(); err != nil {
		t.Errorf("an outage: %v", err)
	}
	if err := w.Client.Check(context.Background()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestReconnectsToAServiceThatRestarts(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "ns.key")
	w.Stop()
	if _, err := sign(key); !failure(t, err).Retry {
		t.Errorf("gone: %v", err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	gomega.NewWithT(t).Eventually(func() error {
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		_, err := sign(key)
		return err
	}).WithTimeout(10 * time.Second).Should(gomega.Succeed())
}

func TestRefusesAnOpenSocket(t *testing.T) {
	for _, open := range []string{"socket", "directory"} {
		w := newWorld(t)
		path := w.Socket
		if open == "directory" {
			path = filepath.Dir(path)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := w.Client.Check(context.Background()); err == nil {
			t.Errorf("a %s that every user can write was accepted", open)
		}
	}
}

func TestReferences(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "pki.corp-root.1")
	name, ok := keyservice.ParseReference(key.KeyPEM(), "pki")
	if !ok || name != key.Name() {
		t.Errorf("%q, %t", name, ok)
	}
	// A reference that is copied to another namespace refers to a key of that namespace.
	if name, _ := keyservice.ParseReference(key.KeyPEM(), "tenant"); name != "tenant.corp-root.1" {
		t.Errorf("%q", name)
	}
	for _, text := range []string{"", "-----BEGIN PRIVATE KEY-----", "key-service:x"} {
		if name, ok := keyservice.ParseReference([]byte(text), "pki"); ok {
			t.Errorf("%q is a reference to %q", text, name)
		}
	}
	if !slices.Contains([]string{"pki.a"}, keyservice.KeyName("pki", "a")) {
		t.Error("the namespace is not the first part of a key's name")
	}
}
