package acmeclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/acmeca/acmeca/internal/test/http01"
)

// Client is an ACME account that requests certificates one after the other. A Client is not safe for concurrent use.
type Client struct {
	// HTTP sends the requests to the server.
	HTTP *http.Client
	// Directory is the server's directory.
	Directory Directory
	// Poll is the delay before an unfinished resource is polled again. Poll doubles with each attempt.
	Poll time.Duration
	// MaxPoll bounds that delay; 0 for no bound.
	MaxPoll time.Duration
	// Persist makes the client retry until the context ends, as a client that runs from a timer does. The client
	// retries after connection failures, 5xx and 429.
	Persist bool
	// Requests counts the requests that were sent.
	Requests int

	identity
	kid       string
	nonces    []string
	responder *http01.Responder
}

// identity is an account key and the values derived from the key.
type identity struct {
	key   *ecdsa.PrivateKey
	jwk   json.RawMessage
	thumb string
}

// Directory is the directory object of RFC 8555 section 7.1.1.
type Directory struct {
	NewNonce, NewAccount, NewOrder, RevokeCert, KeyChange string
}

var base64url = base64.RawURLEncoding

func newIdentity() (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	point, err := key.PublicKey.Bytes() // 0x04, x, y
	if err != nil {
		return identity{}, err
	}
	jwk := fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, base64url.EncodeToString(point[1:33]),
		base64url.EncodeToString(point[33:]))
	sum := sha256.Sum256([]byte(jwk))
	return identity{key, json.RawMessage(jwk), base64url.EncodeToString(sum[:])}, nil
}

// New registers an account and returns its client.
func New(ctx context.Context, h *http.Client, directoryURL string, r *http01.Responder, poll time.Duration) (*Client, error) {
	c := &Client{HTTP: h, responder: r, Poll: poll}
	return c, c.Register(ctx, directoryURL)
}

// NewPersistent returns a client that persists and has no account yet.
func NewPersistent(h *http.Client, r *http01.Responder, poll time.Duration) *Client {
	return &Client{HTTP: h, responder: r, Poll: poll, Persist: true}
}

// Register creates an account with a new key.
func (c *Client) Register(ctx context.Context, directoryURL string) error {
	return c.register(ctx, directoryURL, func() (any, error) { return map[string]any{"termsOfServiceAgreed": true}, nil })
}

// register creates an account with a new key, by the payload that request returns for the key and the directory.
func (c *Client) register(ctx context.Context, directoryURL string, request func() (any, error)) error {
	var err error
	if c.identity, err = newIdentity(); err != nil {
		return err
	}
	var body []byte
	if err := c.persist(ctx, func() (err error) {
		body, _, err = c.do(ctx, http.MethodGet, directoryURL, nil)
		return err
	}); err != nil {
		return err
	}
	if err := json.Unmarshal(body, &c.Directory); err != nil {
		return err
	}
	payload, err := request()
	if err != nil {
		return err
	}
	_, header, err := c.Post(ctx, c.Directory.NewAccount, payload)
	if err != nil {
		return err
	}
	c.kid = header.Get("Location")
	return nil
}

// Clone returns another client of the same account, which can be used at the same time.
func (c *Client) Clone() *Client {
	clone := *c
	clone.nonces, clone.Requests = nil, 0
	return &clone
}

// URL returns the URL of the account.
func (c *Client) URL() string { return c.kid }

// Thumbprint returns the thumbprint of the account's key (RFC 7638).
func (c *Client) Thumbprint() string { return c.thumb }

// Update changes the account.
func (c *Client) Update(ctx context.Context, payload map[string]any) error {
	_, _, err := c.Post(ctx, c.kid, payload)
	return err
}

// ChangeKey replaces the account's key (RFC 8555 section 7.3.5). If an answer was lost, the server may already know
// the new key and refuse the old one. So ChangeKey retries a refused request with the new key.
func (c *Client) ChangeKey(ctx context.Context) error {
	next, err := newIdentity()
	if err != nil {
		return err
	}
	url := c.Directory.KeyChange
	payload, err := json.Marshal(map[string]any{"account": c.kid, "oldKey": c.jwk})
	if err != nil {
		return err
	}
	inner, err := next.sign(map[string]any{"url": url, "jwk": next.jwk}, payload)
	if err != nil {
		return err
	}
	old := c.identity
	if _, _, err = c.Post(ctx, url, json.RawMessage(inner)); err != nil {
		c.identity = next
		if _, _, again := c.Post(ctx, c.kid, nil); again != nil {
			c.identity = old
			return err
		}
	}
	c.identity = next
	return nil
}

func (i identity) sign(protected map[string]any, payload []byte) ([]byte, error) {
	protected["alg"] = "ES256"
	head, err := json.Marshal(protected)
	if err != nil {
		return nil, err
	}
	h, p := base64url.EncodeToString(head), base64url.EncodeToString(payload)
	digest := sha256.Sum256([]byte(h + "." + p))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		return nil, err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return json.Marshal(map[string]string{"protected": h, "payload": p, "signature": base64url.EncodeToString(signature[:])})
}
