package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/acmeca/acmeca/acmeserver/nonce"
)

const (
	path = "/redeem"
	// dialTimeout and askTimeout bound how long a client's request waits for another replica, which may be gone.
	dialTimeout = time.Second
	askTimeout  = 3 * time.Second
	// pingAfter and pingTimeout detect dead connections.
	pingAfter   = 5 * time.Second
	pingTimeout = 2 * time.Second
	// unreachableFor is how long an unreachable replica is not tried again.
	unreachableFor = 2 * time.Second
	// maxUnreachable bounds the unreachable replicas that are remembered.
	maxUnreachable = 64
	// maxAnswer bounds the bytes read of an answer. Only its status counts.
	maxAnswer = 1 << 10
)

// statuses maps the status of an answer to the result. Other statuses mean that the nonce cannot be redeemed now.
var statuses = map[int]error{
	http.StatusNoContent: nil,
	http.StatusConflict:  nonce.ErrUsed,
	http.StatusGone:      nonce.ErrExpired,
	http.StatusNotFound:  nonce.ErrUnknown,
}

// Handler returns a handler that redeems the source's nonces for other replicas. It must be served to replicas alone.
func Handler(source *nonce.Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(redeem(source, r.Body))
	})
	return mux
}

func redeem(source *nonce.Source, body io.Reader) int {
	text, err := io.ReadAll(io.LimitReader(body, int64(nonce.MaxSize)+1))
	if err != nil {
		return http.StatusBadRequest
	}
	n, err := source.Open(string(text))
	if err == nil {
		err = source.Redeem(n)
	}
	for status, meaning := range statuses {
		if err == meaning { //nolint:errorlint // these very values
			return status
		}
	}
	return http.StatusNotFound // malformed, or of another replica, which is not asked in turn
}

// Peers asks other replicas to redeem their nonces.
type Peers struct {
	client *http.Client
	now    func() time.Time

	mu          sync.Mutex
	unreachable map[string]time.Time // by address: when a replica is tried again
}

// NewPeers returns Peers that authenticate with an identity.
func NewPeers(identity *Identity, now func() time.Time) *Peers {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Peers{now: now, unreachable: map[string]time.Time{}, client: &http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: identity.client(), ForceAttemptHTTP2: true,
			IdleConnTimeout: time.Minute, HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Redeem asks the replica at an address to redeem its nonce. The error is nil, or wraps one of package nonce. The address
// must come from an opened nonce, which only a replica can have issued.
func (p *Peers) Redeem(ctx context.Context, address, text string) error {
	if p.isUnreachable(address) {
		return nonce.ErrUnknown
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+path, bytes.NewReader([]byte(text)))
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" && ctx.Err() == nil {
			p.noteUnreachable(address) // the replica is not merely slow, and the client has not given up
		}
		return fmt.Errorf("%w: the replica that issued it is unreachable", nonce.ErrUnknown)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)) // so that the connection can be reused
	meaning, ok := statuses[response.StatusCode]
	if !ok {
		return fmt.Errorf("%w: the replica that issued it answered %s", nonce.ErrUnknown, response.Status)
	}
	return meaning
}

func (p *Peers) isUnreachable(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now().Before(p.unreachable[address])
}

// noteUnreachable keeps clients from waiting one by one for an unreachable replica.
func (p *Peers) noteUnreachable(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unreachable) >= maxUnreachable {
		clear(p.unreachable) // they are tried again on demand
	}
	p.unreachable[address] = p.now().Add(unreachableFor)
}
