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
	// dialTimeout and askTimeout bound what a client's request waits for another replica, which may have gone.
	dialTimeout = time.Second
	askTimeout  = 3 * time.Second
	// pingAfter and pingTimeout find out that a connection leads nowhere any more.
	pingAfter   = 5 * time.Second
	pingTimeout = 2 * time.Second
	// forgetGone is how long a replica that couldn't be reached isn't tried again.
	forgetGone = 2 * time.Second
	// maxGone bounds how many of those are remembered.
	maxGone = 64
	// maxAnswer bounds what is read of an answer, which says everything by its status.
	maxAnswer = 1 << 10
)

// statuses are what the answers mean; others mean that the nonce can't be redeemed now.
var statuses = map[int]error{
	http.StatusNoContent: nil,
	http.StatusConflict:  nonce.ErrUsed,
	http.StatusGone:      nonce.ErrExpired,
	http.StatusNotFound:  nonce.ErrUnknown,
}

// Handler redeems nonces of a source for other replicas. It is to be served to nobody else.
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
	return http.StatusNotFound // malformed, or of another replica: it isn't asked on
}

// Peers asks other replicas.
type Peers struct {
	client *http.Client
	now    func() time.Time

	mu   sync.Mutex
	gone map[string]time.Time // until when a replica isn't asked
}

// NewPeers makes one that shows itself by an identity.
func NewPeers(identity *Identity, now func() time.Time) *Peers {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Peers{now: now, gone: map[string]time.Time{}, client: &http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: identity.client(), ForceAttemptHTTP2: true,
			IdleConnTimeout: time.Minute, HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Redeem has the replica at an address redeem a nonce of its own. The error is nil, one of package nonce's, or says that
// the replica can't be asked. The address is to come from a nonce that was opened: those, replicas alone can make.
func (p *Peers) Redeem(ctx context.Context, address, text string) error {
	if p.isGone(address) {
		return nonce.ErrUnknown
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+path, bytes.NewReader([]byte(text)))
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" && ctx.Err() == nil {
			p.noteGone(address) // and wasn't just slow, nor the client impatient
		}
		return fmt.Errorf("%w: the replica that made it can't be reached", nonce.ErrUnknown)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)) // so that the connection can be used again
	meaning, ok := statuses[response.StatusCode]
	if !ok {
		return fmt.Errorf("%w: the replica that made it answered %s", nonce.ErrUnknown, response.Status)
	}
	return meaning
}

func (p *Peers) isGone(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now().Before(p.gone[address])
}

// noteGone keeps clients from waiting, one after the other, for a replica that isn't there.
func (p *Peers) noteGone(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.gone) >= maxGone {
		clear(p.gone) // they are tried again
	}
	p.gone[address] = p.now().Add(forgetGone)
}
