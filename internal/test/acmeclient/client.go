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
)

// Client is an account that asks for certificates one after the other. It isn't for several goroutines at once.
type Client struct {
	// HTTP is the way to the server.
	HTTP *http.Client
	// Directory of the server.
	Directory Directory
	// Poll is the wait before a second look at what isn't finished; it doubles with each.
	Poll time.Duration
	// Persist has what the server can't do just now tried again until the context ends, as a client does that runs from a
	// timer: what can't be reached, answers 5xx or 429.
	Persist bool
	// Requests that were sent.
	Requests int

	identity
	kid       string
	nonces    []string
	responder *Responder
}

// identity is a key and what is made of it.
type identity struct {
	key   *ecdsa.PrivateKey
	jwk   json.RawMessage
	thumb string
}

// Directory is RFC 8555 section 7.1.1's.
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
	jwk := fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, base64url.EncodeToString(point[1:33]), base64url.EncodeToString(point[33:]))
	sum := sha256.Sum256([]byte(jwk))
	return identity{key, json.RawMessage(jwk), base64url.EncodeToString(sum[:])}, nil
}

// New registers an account.
func New(ctx context.Context, h *http.Client, directoryURL string, r *Responder, poll time.Duration) (*Client, error) {
	c := &Client{HTTP: h, responder: r, Poll: poll}
	return c, c.Register(ctx, directoryURL)
}

// NewPersistent is a client that persists, and hasn't registered yet.
func NewPersistent(h *http.Client, r *Responder, poll time.Duration) *Client {
	return &Client{HTTP: h, responder: r, Poll: poll, Persist: true}
}

// Register makes an account with a key of its own.
func (c *Client) Register(ctx context.Context, directoryURL string) error {
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
	_, header, err := c.Post(ctx, c.Directory.NewAccount, map[string]any{"termsOfServiceAgreed": true})
	if err != nil {
		return err
	}
	c.kid = header.Get("Location")
	return nil
}

// URL of the account.
func (c *Client) URL() string { return c.kid }

// Thumbprint of the account's key.
func (c *Client) Thumbprint() string { return c.thumb }

// Update changes the account.
func (c *Client) Update(ctx context.Context, payload map[string]any) error {
	_, _, err := c.Post(ctx, c.kid, payload)
	return err
}

// ChangeKey gives the account a new key (RFC 8555 section 7.3.5). Where an answer was lost, the server may have the new key
// already, and then knows the old one no more; so a refusal is tried with the new key.
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
