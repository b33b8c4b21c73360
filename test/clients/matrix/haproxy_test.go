package matrix

import (
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
// contains. It does not play the answers to errors other than a pending challenge.
var haproxy = &acmeClient{
	name:    "HAProxy (played)",
	version: func(context.Context) (string, error) { return "3.2 and later", nil },
	open:    func(s *site) session { return &haproxySession{site: s} },
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, patience: yes, reuse: yes,
		revoking:   {notRun, "it cannot revoke"},
		binding:    {notRun, "not played"},
		overloaded: {notRun, "not played"},
	},
	quirk: "polls a challenge five times: after Retry-After, or after 3, 9, 27 and 81 s if the answer has none; waits a Retry-After of any success",
}

const haproxyPolls = 5

type haproxySession struct {
	*site
	client *acmeclient.Client
}

// post sends a request, and waits the Retry-After of the answer.
func (h *haproxySession) post(ctx context.Context, url string, payload, into any) (http.Header, error) {
	body, header, err := h.client.Post(ctx, url, payload)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, retryAfter(header)); err != nil || into == nil {
		return header, err
	}
	return header, json.Unmarshal(body, into)
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

type haproxyOrder struct {
	Status, Finalize, Certificate string
	Authorizations                []string
}

func (h *haproxySession) obtain(ctx context.Context) ([]byte, error) {
	if h.client == nil {
		client := &acmeclient.Client{HTTP: trusting()}
		if err := client.Register(ctx, h.directory()); err != nil {
			return nil, err
		}
		h.client = client
	}
	var order haproxyOrder
	header, err := h.post(ctx, h.client.Directory.NewOrder, map[string]any{"identifiers": []any{map[string]string{"type": "dns", "value": h.name}}}, &order)
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
	if _, err := h.post(ctx, order.Finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(csr)}, nil); err != nil {
		return nil, err
	}
	wait := time.Second
	for range haproxyPolls {
		// The URL of the certificate is read before the status.
		order = haproxyOrder{}
		if _, err := h.post(ctx, url, nil, &order); err != nil {
			return nil, err
		}
		if order.Certificate != "" {
			chain, _, err := h.client.Post(ctx, order.Certificate, nil)
			return chain, err
		}
		wait *= 3
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("order is %s", order.Status)
}

func (h *haproxySession) authorize(ctx context.Context, url string) error {
	var authorization struct {
		Status     string
		Challenges []struct{ Type, URL, Token string }
	}
	if _, err := h.post(ctx, url, nil, &authorization); err != nil || authorization.Status == "valid" {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		if err := h.putToken(challenge.Token, challenge.Token+"."+h.client.Thumbprint()); err != nil {
			return err
		}
		if _, err := h.post(ctx, challenge.URL, map[string]any{}, nil); err != nil {
			return err
		}
		return h.poll(ctx, challenge.URL)
	}
	return errors.New("http-01 isn't offered")
}

// poll reads a challenge five times at most. Each wait between two reads is the answer's Retry-After, or grows threefold.
func (h *haproxySession) poll(ctx context.Context, url string) error {
	wait := time.Second
	var challenge struct{ Status string }
	for range haproxyPolls {
		body, header, err := h.client.Post(ctx, url, nil)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &challenge); err != nil {
			return err
		}
		switch challenge.Status {
		case "valid":
			return nil
		case "invalid":
			return errors.New("the challenge is invalid")
		}
		wait *= 3
		after := retryAfter(header)
		if after == 0 {
			after = wait
		}
		if err := pause(ctx, after); err != nil {
			return err
		}
	}
	return fmt.Errorf("gave up on a challenge that is %s", challenge.Status)
}

func (h *haproxySession) renew(ctx context.Context) ([]byte, error) { return h.obtain(ctx) }

func (h *haproxySession) revoke(context.Context) error { return errNotOffered }
