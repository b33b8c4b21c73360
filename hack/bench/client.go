package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// acmeClient is an account that asks for certificates one after the other. It does no more work than a client has to, so
// that the server is what is measured.
type acmeClient struct {
	http      *http.Client
	directory directory
	key       *ecdsa.PrivateKey
	jwk       json.RawMessage
	thumb     string
	kid       string
	nonces    []string
	requests  int
	responder *responder
	// poll is the wait before a second look at what isn't finished; it doubles with each.
	poll time.Duration
}

type directory struct {
	NewNonce, NewAccount, NewOrder string
}

var base64url = base64.RawURLEncoding

func newClient(ctx context.Context, h *http.Client, directoryURL string, r *responder, poll time.Duration) (*acmeClient, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes() // 0x04, x, y
	if err != nil {
		return nil, err
	}
	c := &acmeClient{http: h, key: key, responder: r, poll: poll}
	c.jwk = json.RawMessage(fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, base64url.EncodeToString(point[1:33]), base64url.EncodeToString(point[33:])))
	sum := sha256.Sum256(c.jwk)
	c.thumb = base64url.EncodeToString(sum[:])
	body, _, err := c.do(ctx, http.MethodGet, directoryURL, nil)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &c.directory); err != nil {
		return nil, err
	}
	_, header, err := c.post(ctx, c.directory.NewAccount, map[string]any{"termsOfServiceAgreed": true})
	if err != nil {
		return nil, err
	}
	c.kid = header.Get("Location")
	return c, nil
}

func (c *acmeClient) do(ctx context.Context, method, url string, body []byte) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/jose+json")
	}
	c.requests++
	response, err := c.http.Do(request)
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
		return nil, nil, fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	return text, response.Header, nil
}

// post signs with the account, and with the bare key before there is one; a nil payload makes a POST-as-GET.
func (c *acmeClient) post(ctx context.Context, url string, payload any) ([]byte, http.Header, error) {
	if len(c.nonces) == 0 {
		if _, _, err := c.do(ctx, http.MethodHead, c.directory.NewNonce, nil); err != nil {
			return nil, nil, err
		}
	}
	last := len(c.nonces) - 1
	protected := map[string]any{"alg": "ES256", "nonce": c.nonces[last], "url": url}
	c.nonces = c.nonces[:last]
	if c.kid != "" {
		protected["kid"] = c.kid
	} else {
		protected["jwk"] = c.jwk
	}
	head, err := json.Marshal(protected)
	if err != nil {
		return nil, nil, err
	}
	var body []byte
	if payload != nil {
		if body, err = json.Marshal(payload); err != nil {
			return nil, nil, err
		}
	}
	h, p := base64url.EncodeToString(head), base64url.EncodeToString(body)
	digest := sha256.Sum256([]byte(h + "." + p))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	if err != nil {
		return nil, nil, err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	message, err := json.Marshal(map[string]string{"protected": h, "payload": p, "signature": base64url.EncodeToString(signature[:])})
	if err != nil {
		return nil, nil, err
	}
	return c.do(ctx, http.MethodPost, url, message)
}

type order struct {
	Status, Finalize, Certificate string
	Authorizations                []string
	Error                         json.RawMessage
}

type authorization struct {
	Status     string
	Challenges []struct{ Type, URL, Token, Status string }
}

// issue gets a certificate for names.
func (c *acmeClient) issue(ctx context.Context, certificateKey *ecdsa.PrivateKey, names ...string) error {
	var identifiers []map[string]string
	for _, n := range names {
		identifiers = append(identifiers, map[string]string{"type": "dns", "value": n})
	}
	var o order
	header, err := c.call(ctx, c.directory.NewOrder, map[string]any{"identifiers": identifiers}, &o)
	if err != nil {
		return err
	}
	url := header.Get("Location")
	for _, a := range o.Authorizations {
		if err := c.respond(ctx, a); err != nil {
			return err
		}
	}
	for _, a := range o.Authorizations {
		if err := c.until(ctx, func() (string, error) {
			var state authorization
			_, err := c.call(ctx, a, nil, &state)
			return state.Status, err
		}); err != nil {
			return err
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, certificateKey)
	if err != nil {
		return err
	}
	if _, err := c.call(ctx, o.Finalize, map[string]any{"csr": base64url.EncodeToString(der)}, &o); err != nil {
		return err
	}
	if err := c.until(ctx, func() (string, error) {
		if o.Status == "valid" {
			return o.Status, nil
		}
		_, err := c.call(ctx, url, nil, &o)
		return o.Status, err
	}); err != nil {
		return err
	}
	_, _, err = c.post(ctx, o.Certificate, nil)
	return err
}

// respond chooses the http-01 challenge of an authorization, and leaves its answer to be fetched.
func (c *acmeClient) respond(ctx context.Context, url string) error {
	var a authorization
	if _, err := c.call(ctx, url, nil, &a); err != nil {
		return err
	}
	if a.Status == "valid" {
		return nil
	}
	for _, challenge := range a.Challenges {
		if challenge.Type == "http-01" {
			c.responder.set(challenge.Token, challenge.Token+"."+c.thumb)
			_, err := c.call(ctx, challenge.URL, struct{}{}, nil)
			return err
		}
	}
	return errors.New("no http-01 challenge is offered")
}

// until looks again until the state is valid.
func (c *acmeClient) until(ctx context.Context, look func() (string, error)) error {
	wait := c.poll
	for {
		switch state, err := look(); {
		case err != nil:
			return err
		case state == "valid":
			return nil
		case state == "invalid":
			return errors.New("it became invalid")
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *acmeClient) call(ctx context.Context, url string, payload, into any) (http.Header, error) {
	body, header, err := c.post(ctx, url, payload)
	if err != nil || into == nil {
		return header, err
	}
	return header, json.Unmarshal(body, into)
}
