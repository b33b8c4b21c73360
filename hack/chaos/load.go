package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/acmeca/acmeca/hack/chaos/history"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
)

// load runs clients until end is closed, and then deactivates their accounts. The clients use the issuers in turn. Each client
// retries through faults until it has its certificate. A refusal is a violation.
func (s *site) load(ctx context.Context, name string, clients int, end <-chan struct{}) (done <-chan struct{}) {
	finished := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		random := mathrand.New(mathrand.NewPCG(s.random.Uint64(), uint64(i)))
		all.Go(func() {
			name := fmt.Sprintf("%s-%d", name, i)
			issuer := []string{"default", keyIssuer}[i%2]
			if err := s.client(ctx, name, issuer, random, end); err != nil {
				s.report.violated(history.Violation{Fault: history.Broken, What: fmt.Sprintf("%s: %v", name, err)})
			}
		})
	}
	go func() { all.Wait(); close(finished) }()
	return finished
}

// pause bounds the load, so that it is steady.
const pause = 20 * time.Millisecond

func (s *site) client(ctx context.Context, name, issuer string, random *mathrand.Rand, end <-chan struct{}) error {
	roots := x509.NewCertPool()
	text, err := os.ReadFile(s.local.CAFile())
	if err != nil {
		return err
	}
	roots.AppendCertsFromPEM(text)
	// One client in two uses another replica for each request, the others change the replica when their connection
	// ends.
	transport := &http.Transport{
		DialContext: s.service.dial, DisableKeepAlives: random.IntN(2) == 0,
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, ForceAttemptHTTP2: random.IntN(2) == 0,
	}
	defer transport.CloseIdleConnections()
	connect := func(name string) *http.Client {
		return &http.Client{Timeout: 15 * time.Second, Transport: s.history.Listen(name, transport)}
	}
	c := acmeclient.NewPersistent(connect(name), s.http01, 10*time.Millisecond)
	if err := c.Register(ctx, s.directoryURL(issuer)); err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	for {
		select {
		case <-end:
			if err := c.Deactivate(ctx); err != nil {
				return fmt.Errorf("deactivating: %w", err)
			}
			return nil
		case <-time.After(pause):
		}
		clocks := s.clocks.Load()
		names := freshNames(1 + random.IntN(2))
		certificate, err := c.Issue(ctx, key, names...)
		if err == nil && random.IntN(3) == 0 {
			twin := c.Clone()
			twin.HTTP = connect(name + "-twin")
			certificate, err = renew(ctx, [...]*acmeclient.Client{c, twin}, key, certificate, names)
		}
		if ended(err) && (clocks%2 == 1 || s.clocks.Load() != clocks) {
			s.clockFailures.Add(1)
			continue
		}
		if err != nil {
			return fmt.Errorf("a certificate: %w", err)
		}
		if err := changeSomething(ctx, c, certificate, random); err != nil {
			return err
		}
	}
}

// ended reports whether an error says that an order is invalid, at the first or a later poll.
func ended(err error) bool {
	return errors.Is(err, acmeclient.ErrInvalid) || acmeclient.Is(err, "orderNotReady")
}

// renew replaces a certificate by orders of two clients at the same time, and returns the new one. Two new ones are an error. The old one
// is returned if no order was accepted: a client whose answer was lost may have an order that it does not know.
func renew(
	ctx context.Context, clients [2]*acmeclient.Client, key *ecdsa.PrivateKey, old []byte, names []string,
) (certificate []byte, err error) {
	var made [len(clients)][]byte
	var errs [len(clients)]error
	var both sync.WaitGroup
	for i, c := range clients {
		both.Go(func() { made[i], errs[i] = c.Renew(ctx, key, old, names...) })
	}
	both.Wait()
	refused := false
	for i, err := range errs {
		switch {
		case err == nil && certificate != nil:
			return nil, errors.New("two orders replaced a certificate")
		case err == nil:
			certificate = made[i]
		case acmeclient.Is(err, "alreadyReplaced"):
			refused = true
		case !ended(err):
			return nil, fmt.Errorf("a renewal: %w", err)
		}
	}
	switch {
	case certificate != nil:
		return certificate, nil
	case refused:
		return old, nil
	}
	return nil, fmt.Errorf("two renewals: %w", errors.Join(errs[:]...))
}

// changeSomething revokes one certificate in three, and seldom changes the account.
func changeSomething(ctx context.Context, c *acmeclient.Client, certificate []byte, random *mathrand.Rand) error {
	if random.IntN(3) == 0 {
		if err := c.Revoke(ctx, certificate); err != nil {
			return fmt.Errorf("a revocation: %w", err)
		}
	}
	if random.IntN(8) == 0 {
		if err := c.ChangeKey(ctx); err != nil {
			return fmt.Errorf("another key: %w", err)
		}
	}
	if random.IntN(8) == 0 {
		contact := fmt.Sprintf("mailto:%d@chaos.test", random.IntN(1000))
		if err := c.Update(ctx, map[string]any{"contact": []string{contact}}); err != nil {
			return fmt.Errorf("another contact: %w", err)
		}
	}
	return nil
}

func freshNames(count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = freshName()
	}
	return all
}
