package matrix

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
)

// haproxy plays the requests and waits of the client that HAProxy 3.2 and later have built in, which no package of Debian 12
// contains.
var haproxy = &acmeClient{
	name:    "HAProxy (played)",
	version: func(context.Context) (string, error) { return "3.2 and later", nil },
	open:    func(s *site) session { return &haproxySession{site: s} },
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, patience: yes, reuse: yes,
		revoking:   {notRun, "it cannot revoke"},
		binding:    {works, "since 3.4"},
		granted:    yes,
		overloaded: {verdict: waits},
	},
	since: "3.2: has a client; 3.4: external account keys; June 2026: does not hang at authorizations that are valid from the start",
	quirk: "makes each request five times, until its answer is a success and its challenge or order is done: after Retry-After, or after 3, 9, 27 and 81 s if the answer has none; waits a Retry-After of any success",
}

const (
	haproxyTries = 5
	// haproxyWork is the wait for a challenge or a certificate, unless an answer has Retry-After.
	haproxyWork = 5 * time.Second
)

type haproxySession struct {
	*site
	client *acmeclient.Client
}

// unfinished is a challenge or an order that is not done.
type unfinished struct {
	state string
	after time.Duration
}

func (u unfinished) Error() string { return "the state is " + u.state }

// try makes a request until it succeeds, and then waits its Retry-After, or least if it has none.
func (h *haproxySession) try(ctx context.Context, least time.Duration, request func() (http.Header, error)) error {
	wait := time.Second
	for tries := 1; ; tries++ {
		header, err := request()
		if err == nil {
			return pause(ctx, cmp.Or(retryAfter(header), least))
		}
		var after time.Duration
		if problem, ok := errors.AsType[*acmeclient.Problem](err); ok {
			after = retryAfter(http.Header{"Retry-After": {problem.RetryAfter}})
		} else if u, ok := errors.AsType[unfinished](err); ok && u.state != "invalid" {
			after = u.after
		} else {
			return err
		}
		if tries == haproxyTries {
			return fmt.Errorf("gave up: %w", err)
		}
		wait *= 3
		if err := pause(ctx, cmp.Or(after, wait)); err != nil {
			return err
		}
	}
}

// post sends a request until it succeeds.
func (h *haproxySession) post(ctx context.Context, url string, payload, into any, least time.Duration) (header http.Header, err error) {
	err = h.try(ctx, least, func() (http.Header, error) {
		var body []byte
		body, header, err = h.client.Post(ctx, url, payload)
		if err == nil && into != nil {
			err = json.Unmarshal(body, into)
		}
		return header, err
	})
	return header, err
}

func retryAfter(header http.Header) time.Duration {
	seconds, _ := strconv.Atoi(header.Get("Retry-After")) // 0 without one
	return time.Duration(seconds) * time.Second
}

func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *haproxySession) register(ctx context.Context) error {
	if h.client != nil {
		return nil
	}
	client := &acmeclient.Client{HTTP: trusting()}
	err := h.try(ctx, 0, func() (http.Header, error) { return nil, h.registerAs(ctx, client) })
	if err == nil {
		h.client = client
	}
	return err
}

func (h *haproxySession) obtain(ctx context.Context) ([]byte, error) {
	if err := h.register(ctx); err != nil {
		return nil, err
	}
	var order struct {
		Status, Finalize, Certificate string
		Authorizations                []string
	}
	header, err := h.post(ctx, h.client.Directory.NewOrder, map[string]any{"identifiers": []any{map[string]string{"type": "dns", "value": h.name}}}, &order, 0)
	if err != nil {
		return nil, err
	}
	url := header.Get("Location")
	for _, authorization := range order.Authorizations {
		if err := h.authorize(ctx, authorization); err != nil {
			return nil, err
		}
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{h.name}}, key)
	if err != nil {
		return nil, err
	}
	if _, err := h.post(ctx, order.Finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)}, nil, haproxyWork); err != nil {
		return nil, err
	}
	// The URL of the certificate is read before the state.
	if err := h.poll(ctx, url, &order, func() (bool, string) { return order.Certificate != "", order.Status }); err != nil {
		return nil, err
	}
	chain, _, err := h.client.Post(ctx, order.Certificate, nil)
	return chain, err
}

func (h *haproxySession) authorize(ctx context.Context, url string) error {
	var authorization struct {
		Status     string
		Challenges []struct{ Type, URL, Token string }
	}
	if _, err := h.post(ctx, url, nil, &authorization, 0); err != nil || authorization.Status == "valid" {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		if err := h.putToken(challenge.Token, challenge.Token+"."+h.client.Thumbprint()); err != nil {
			return err
		}
		if _, err := h.post(ctx, challenge.URL, map[string]any{}, nil, haproxyWork); err != nil {
			return err
		}
		var read struct{ Status string }
		return h.poll(ctx, challenge.URL, &read, func() (bool, string) { return read.Status == "valid", read.Status })
	}
	return errors.New("http-01 isn't offered")
}

// poll reads a challenge or an order until it is done. It is a request that fails while it isn't.
func (h *haproxySession) poll(ctx context.Context, url string, into any, read func() (done bool, state string)) error {
	return h.try(ctx, 0, func() (http.Header, error) {
		body, header, err := h.client.Post(ctx, url, nil)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, into); err != nil {
			return nil, err
		}
		if done, state := read(); !done {
			return nil, unfinished{state, retryAfter(header)}
		}
		return header, nil
	})
}

func (h *haproxySession) renew(ctx context.Context) ([]byte, error) { return h.obtain(ctx) }

func (h *haproxySession) revoke(context.Context) error { return errNotOffered }
