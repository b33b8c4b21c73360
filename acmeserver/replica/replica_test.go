package replica

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acmeca/acmeca/acmeserver/nonce"
)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, nonce.SecretSize) }

// member is a replica: the source of its nonces, and the peers that it asks.
type member struct {
	*nonce.Source
	*Peers
	keys     *nonce.Keys
	identity *Identity
	server   *http.Server
	address  string
}

func start(t *testing.T, secrets ...[]byte) *member {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &member{keys: nonce.NewKeys(), identity: &Identity{}, address: listener.Addr().String()}
	e.know(t, secrets...)
	if e.Source, err = nonce.NewSource(e.keys, e.address, time.Now); err != nil {
		t.Fatal(err)
	}
	e.Peers = NewPeers(e.identity, time.Now)
	e.server = serve(t, listener, e.Source, e.identity)
	return e
}

func serve(t *testing.T, listener net.Listener, source *nonce.Source, identity *Identity) *http.Server {
	server := &http.Server{
		Handler: Handler(source), TLSConfig: identity.Server(), ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = server.ServeTLS(listener, "", "") }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func (e *member) know(t *testing.T, secrets ...[]byte) {
	t.Helper()
	if err := errors.Join(e.keys.Set(secrets...), e.identity.Set(secrets...)); err != nil {
		t.Fatal(err)
	}
}

// accept redeems a nonce that a client sent, as the ACME server does.
func (e *member) accept(ctx context.Context, text string) error {
	n, err := e.Open(text)
	if err != nil {
		return err
	}
	if err = e.Source.Redeem(n); errors.Is(err, nonce.ErrForeign) {
		err = e.Peers.Redeem(ctx, n.Address, text)
	}
	return err
}

func expect(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, not %v", err, want)
	}
}

func TestANonceIsRedeemedOnceAmongReplicas(t *testing.T) {
	var replicas []*member
	for range 3 {
		replicas = append(replicas, start(t, secret(1)))
	}
	const nonces = 50
	for i := range nonces {
		text := replicas[i%3].New(nonce.Note{})
		var redeemed atomic.Int32
		var clients sync.WaitGroup
		for j := range 6 {
			clients.Go(func() {
				switch err := replicas[j%3].accept(t.Context(), text); {
				case err == nil:
					redeemed.Add(1)
				case !errors.Is(err, nonce.ErrUsed):
					t.Error(err)
				}
			})
		}
		clients.Wait()
		if redeemed.Load() != 1 {
			t.Fatalf("a nonce was redeemed %d times", redeemed.Load())
		}
	}
}

func TestAReplicaThatIsGone(t *testing.T) {
	a, b := start(t, secret(1)), start(t, secret(1))
	expect(t, a.accept(t.Context(), b.New(nonce.Note{})), nil)
	used := b.New(nonce.Note{})
	expect(t, a.accept(t.Context(), used), nil)
	left := b.New(nonce.Note{})
	if err := b.server.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, a.accept(t.Context(), left), nonce.ErrUnknown) // on the existing connection
	expect(t, a.accept(t.Context(), left), nonce.ErrUnknown) // on a new one

	// Another replica at its address is asked again after a while.
	now := time.Now()
	a.now = func() time.Time { return now }
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		t.Skip(err)
	}
	other, err := nonce.NewSource(b.keys, b.address, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, listener, other, b.identity)
	expect(t, a.accept(t.Context(), other.New(nonce.Note{})), nonce.ErrUnknown)
	now = now.Add(unreachableFor)
	expect(t, a.accept(t.Context(), other.New(nonce.Note{})), nil)
	expect(t, a.accept(t.Context(), used), nonce.ErrUnknown)
	expect(t, a.accept(t.Context(), left), nonce.ErrUnknown)
}

func TestReplicasThatAreGoneAreNotRememberedWithoutBound(t *testing.T) {
	p := NewPeers(&Identity{}, time.Now)
	for i := range 3 * maxUnreachable {
		p.noteUnreachable(string(rune('a' + i)))
	}
	if len(p.unreachable) > maxUnreachable {
		t.Errorf("%d are remembered", len(p.unreachable))
	}
}

func TestSecretsAreRotatedOneReplicaAfterTheOther(t *testing.T) {
	steps := [][][]byte{{secret(1), secret(2), secret(0)}, {secret(2), secret(3), secret(1)}, {secret(3), secret(4), secret(2)}}
	a, b := start(t, steps[0]...), start(t, steps[0]...)
	both := func() {
		t.Helper()
		for _, e := range []*member{a, b} { // new connections, too
			e.client.CloseIdleConnections()
		}
		expect(t, a.accept(t.Context(), b.New(nonce.Note{})), nil)
		expect(t, b.accept(t.Context(), a.New(nonce.Note{})), nil)
	}
	both()
	for _, step := range steps[1:] {
		a.know(t, step...)
		both()
		b.know(t, step...)
		both()
	}
}

func TestAStrangerIsNotAskedAndNotAnswered(t *testing.T) {
	a := start(t, secret(1))
	// The stranger can issue nonces, but cannot prove that it is a replica.
	stranger := start(t, secret(9))
	text := a.New(nonce.Note{})
	err := stranger.Peers.Redeem(t.Context(), a.address, text)
	if err == nil || errors.Is(err, nonce.ErrUsed) {
		t.Errorf("a nonce was redeemed for a stranger: %v", err)
	}
	expect(t, a.accept(t.Context(), text), nil)

	if err := stranger.keys.Set(secret(1)); err != nil {
		t.Fatal(err)
	}
	if err := a.accept(t.Context(), stranger.New(nonce.Note{})); err == nil {
		t.Error("a stranger's redemption was believed")
	}
}

func TestWithoutACertificateNobodyIsAnswered(t *testing.T) {
	a := start(t, secret(1))
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a test
	response, err := plain.Post("https://"+a.address+path, "", bytes.NewReader([]byte(a.New(nonce.Note{}))))
	if err == nil {
		_ = response.Body.Close()
		t.Error("it was answered")
	}
}

func TestAReplicaAsksNobodyOn(t *testing.T) {
	a, b := start(t, secret(1)), start(t, secret(1))
	expect(t, a.Peers.Redeem(t.Context(), b.address, a.New(nonce.Note{})), nonce.ErrUnknown)
	expect(t, a.Peers.Redeem(t.Context(), b.address, "rubbish"), nonce.ErrUnknown)
	expect(t, a.Peers.Redeem(t.Context(), b.address, string(make([]byte, 1<<16))), nonce.ErrUnknown)
}

func TestAClientThatDoesNotWaitSaysNothingOfAReplica(t *testing.T) {
	a, b := start(t, secret(1)), start(t, secret(1))
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if a.accept(impatient, b.New(nonce.Note{})) == nil {
		t.Error("it was redeemed")
	}
	expect(t, a.accept(t.Context(), b.New(nonce.Note{})), nil)
}

func TestWithoutASecretNothingIsShown(t *testing.T) {
	if err := (&Identity{}).Set(); err == nil {
		t.Error("an empty list of secrets is accepted")
	}
	a := start(t, secret(1))
	if err := NewPeers(&Identity{}, time.Now).Redeem(t.Context(), a.address, a.New(nonce.Note{})); err == nil {
		t.Error("it was redeemed")
	}
}
