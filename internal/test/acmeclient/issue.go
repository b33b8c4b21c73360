package acmeclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// Order is an order resource (RFC 8555 section 7.1.3).
type Order struct {
	URL                           string `json:"-"`
	Status, Finalize, Certificate string
	Authorizations                []string
	Error                         json.RawMessage
}

// Authorization is an authorization resource (RFC 8555 section 7.1.4).
type Authorization struct {
	Status     string
	Challenges []Challenge
}

// errors lists the errors of failed challenges.
func (a Authorization) errors() string {
	var all string
	for _, challenge := range a.Challenges {
		if challenge.Error != nil {
			all += fmt.Sprintf("; %s: %s", challenge.Type, challenge.Error)
		}
	}
	return all
}

// Challenge is a challenge resource (RFC 8555 section 8).
type Challenge struct {
	Type, URL, Token, Status string
	Error                    json.RawMessage
}

// ErrInvalid reports that an order or authorization became invalid.
var ErrInvalid = errors.New("it became invalid")

// Issue returns a new certificate for names, in DER.
func (c *Client) Issue(ctx context.Context, certificateKey *ecdsa.PrivateKey, names ...string) ([]byte, error) {
	return c.issue(ctx, "", certificateKey, names)
}

// Renew returns a certificate for the names of an older one. The order says that it replaces the older one (RFC 9773
// section 5).
func (c *Client) Renew(ctx context.Context, certificateKey *ecdsa.PrivateKey, der []byte, names ...string) ([]byte, error) {
	old, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return c.issue(ctx, acme.NewCertID(old.AuthorityKeyId, old.SerialNumber).String(), certificateKey, names)
}

func (c *Client) issue(ctx context.Context, replaces string, certificateKey *ecdsa.PrivateKey, names []string) ([]byte, error) {
	o, err := c.newOrder(ctx, replaces, names)
	if err != nil {
		return nil, err
	}
	if err := c.Prove(ctx, o); err != nil {
		return nil, err
	}
	if err := c.Finalize(ctx, o, certificateKey, names...); err != nil {
		return nil, err
	}
	return c.Download(ctx, o)
}

// NewOrder creates an order for names and addresses.
func (c *Client) NewOrder(ctx context.Context, names ...string) (*Order, error) {
	return c.newOrder(ctx, "", names)
}

func (c *Client) newOrder(ctx context.Context, replaces string, names []string) (*Order, error) {
	var identifiers []map[string]string
	for _, n := range names {
		kind := acme.DNS
		if net.ParseIP(n) != nil {
			kind = acme.IP
		}
		identifiers = append(identifiers, map[string]string{"type": string(kind), "value": n})
	}
	payload := map[string]any{"identifiers": identifiers}
	if replaces != "" {
		payload["replaces"] = replaces
	}
	o := &Order{}
	header, err := c.call(ctx, c.Directory.NewOrder, payload, o)
	if err != nil {
		return nil, err
	}
	o.URL = header.Get("Location")
	return o, nil
}

// Prove proves control of an order's names.
func (c *Client) Prove(ctx context.Context, o *Order) error {
	var open []string
	for _, a := range o.Authorizations {
		state, err := c.respond(ctx, a)
		if err != nil {
			return err
		}
		if state != "valid" {
			open = append(open, a)
		}
	}
	for _, a := range open {
		var state Authorization
		if err := c.until(ctx, func() (string, error) {
			state = Authorization{}
			_, err := c.call(ctx, a, nil, &state)
			return state.Status, err
		}); err != nil {
			return fmt.Errorf("%s: %w%s", a, err, state.errors())
		}
	}
	return nil
}

// Finalize sends the CSR of a ready order and waits for the certificate.
func (c *Client) Finalize(ctx context.Context, o *Order, certificateKey *ecdsa.PrivateKey, names ...string) error {
	template := &x509.CertificateRequest{}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, certificateKey)
	if err != nil {
		return err
	}
	if _, err := c.call(ctx, o.Finalize, map[string]any{"csr": base64url.EncodeToString(der)}, o); err != nil {
		return err
	}
	if err := c.until(ctx, func() (string, error) {
		if o.Status == "valid" {
			return o.Status, nil
		}
		_, err := c.call(ctx, o.URL, nil, o)
		return o.Status, err
	}); err != nil {
		return fmt.Errorf("%s: %w: %s", o.URL, err, o.Error)
	}
	return nil
}

// Download returns the certificate of a valid order, in DER.
func (c *Client) Download(ctx context.Context, o *Order) ([]byte, error) {
	text, _, err := c.Post(ctx, o.Certificate, nil)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the certificate isn't PEM")
	}
	return block.Bytes, nil
}

// Revoke revokes a certificate. A certificate that is already revoked is no error, because an earlier answer may have
// been lost.
func (c *Client) Revoke(ctx context.Context, der []byte) error {
	_, _, err := c.Post(ctx, c.Directory.RevokeCert, map[string]any{"certificate": base64url.EncodeToString(der)})
	if Is(err, "alreadyRevoked") {
		return nil
	}
	return err
}

// Deactivate deactivates the account. An "unauthorized" answer is no error, because an earlier answer may have been
// lost.
func (c *Client) Deactivate(ctx context.Context) error {
	_, _, err := c.Post(ctx, c.kid, map[string]any{"status": "deactivated"})
	if problem, ok := errors.AsType[*Problem](err); ok && problem.Status == http.StatusUnauthorized {
		return nil
	}
	return err
}

// respond accepts the http-01 challenge of an authorization, publishes the key authorization, and returns the
// authorization's state.
func (c *Client) respond(ctx context.Context, url string) (state string, err error) {
	var a Authorization
	if _, err := c.call(ctx, url, nil, &a); err != nil || a.Status == "valid" {
		return a.Status, err
	}
	for _, challenge := range a.Challenges {
		if challenge.Type == "http-01" {
			c.Answer(challenge.Token)
			_, err := c.call(ctx, challenge.URL, struct{}{}, &challenge)
			return challenge.Status, err
		}
	}
	return "", errors.New("no http-01 challenge is offered")
}

// Answer makes the responder serve the correct key authorization of an http-01 challenge.
func (c *Client) Answer(token string) { c.responder.Put(token, token+"."+c.thumb) }

// until polls until the state is valid.
func (c *Client) until(ctx context.Context, look func() (string, error)) error {
	wait := c.Poll
	for {
		switch state, err := look(); {
		case err != nil:
			return err
		case state == "valid":
			return nil
		case state == "invalid":
			return ErrInvalid
		}
		select {
		case <-time.After(wait):
			if wait *= 2; c.MaxPoll > 0 {
				wait = min(wait, c.MaxPoll)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
