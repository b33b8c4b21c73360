package acmeclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Problem is an error answer with its problem document (RFC 7807).
type Problem struct {
	URL    string
	Status int
	Type   string `json:"type"`
	Detail string `json:"detail"`
	// RetryAfter is the delay that the server asks for.
	RetryAfter string
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", p.URL, p.Status, p.Type, p.Detail)
}

// Is reports whether an error is a problem of a type, such as "badNonce".
func Is(err error, kind string) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Type == "urn:ietf:params:acme:error:"+kind
}

func (c *Client) do(ctx context.Context, method, url string, body []byte) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/jose+json")
	}
	c.Requests++
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, err
	}
	if nonce := response.Header.Get("Replay-Nonce"); nonce != "" {
		c.nonces = append(c.nonces, nonce)
	}
	if response.StatusCode >= 400 {
		problem := &Problem{Detail: string(text)}
		_ = json.Unmarshal(text, problem) // other bodies stay as they are
		problem.URL, problem.Status, problem.RetryAfter = url, response.StatusCode, response.Header.Get("Retry-After")
		return nil, nil, problem
	}
	return text, response.Header, nil
}

// Post signs with the account, or with the bare key before registration. A nil payload makes a POST-as-GET.
func (c *Client) Post(ctx context.Context, url string, payload any) (body []byte, header http.Header, err error) {
	err = c.persist(ctx, func() (err error) {
		body, header, err = c.postOnce(ctx, url, payload)
		return err
	})
	return body, header, err
}

func (c *Client) postOnce(ctx context.Context, url string, payload any) ([]byte, http.Header, error) {
	if len(c.nonces) == 0 {
		if _, _, err := c.do(ctx, http.MethodHead, c.Directory.NewNonce, nil); err != nil {
			return nil, nil, err
		}
	}
	last := len(c.nonces) - 1
	protected := map[string]any{"nonce": c.nonces[last], "url": url}
	c.nonces = c.nonces[:last]
	if c.kid != "" {
		protected["kid"] = c.kid
	} else {
		protected["jwk"] = c.jwk
	}
	var text []byte
	if payload != nil {
		var err error
		if text, err = json.Marshal(payload); err != nil {
			return nil, nil, err
		}
	}
	message, err := c.sign(protected, text)
	if err != nil {
		return nil, nil, err
	}
	return c.do(ctx, http.MethodPost, url, message)
}

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 500 * time.Millisecond
	// maxBadNonces bounds how often in a row the client retries a badNonce error.
	maxBadNonces = 50
)

// persist retries a step while the server is unavailable, if Persist is set.
func (c *Client) persist(ctx context.Context, step func() error) error {
	wait, bad := firstRetry, 0
	for {
		err := step()
		if err == nil || !c.Persist || ctx.Err() != nil {
			return err
		}
		problem, answered := errors.AsType[*Problem](err)
		switch {
		case Is(err, "badNonce"):
			c.nonces = c.nonces[max(0, len(c.nonces)-1):] // nonces issued before a restart are invalid too
			if bad++; bad > maxBadNonces {
				return err
			}
			continue
		case answered && problem.Status < 500 && problem.Status != http.StatusTooManyRequests:
			return err
		case !answered && strings.Contains(err.Error(), "x509:"): // retrying does not change the server's certificate
			return err
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, lastRetry)
		case <-ctx.Done():
			return err
		}
	}
}

func (c *Client) call(ctx context.Context, url string, payload, into any) (http.Header, error) {
	body, header, err := c.Post(ctx, url, payload)
	if err != nil || into == nil {
		return header, err
	}
	return header, json.Unmarshal(body, into)
}

// Impersonate reads a resource with the URL of another account, without the key of that account. The error is the
// server's answer.
func (c *Client) Impersonate(ctx context.Context, kid string) error {
	own := c.kid
	defer func() { c.kid = own }()
	c.kid = kid
	_, _, err := c.postOnce(ctx, kid, nil)
	return err
}
