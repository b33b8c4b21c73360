package perspective

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation"
)

// Config of a Client.
type Config struct {
	// URL of the validator: "https://host:port", with a path in front of the version where it is behind a proxy.
	URL string
	// CABundle has the certificates, in PEM, that the validator's has to be signed under; none other counts.
	CABundle []byte
	// Certificate and Key by which the validator knows this client, in PEM.
	Certificate, Key []byte
	// CAA and CAAIdentities are the issuer's, as in validation.Config.
	CAA           bool
	CAAIdentities []string
	// Dial connects to the validator; nil for a plain net.Dialer.
	Dial validation.DialFunc
}

// Client asks a validator. It is a validation.Checker.
type Client struct {
	url  string
	http *http.Client
	caa  caa
}

// NewClient makes a Client, or says what is wrong with the configuration.
func NewClient(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not a plain https URL", acme.Printable(c.URL, 256))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.CABundle) {
		return nil, errors.New("the CA bundle has no certificate")
	}
	certificate, err := tls.X509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("the client certificate: %w", err)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	transport := &http.Transport{
		DialContext:         c.Dial,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second, // clients are made anew when their certificate is
	}
	return &Client{
		url: u.JoinPath(Path).String(),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		caa: caa{c.CAA, c.CAAIdentities},
	}, nil
}

// Validate has an attempt made at a challenge, and CAA checked.
func (c *Client) Validate(ctx context.Context, r validation.Request) validation.Result {
	return c.ask(ctx, kindChallenge, r)
}

// CheckCAA has CAA checked alone.
func (c *Client) CheckCAA(ctx context.Context, r validation.Request) validation.Result {
	return c.ask(ctx, kindCAA, r)
}

// ask never fails but with a Result: that nobody could be asked may pass.
func (c *Client) ask(ctx context.Context, k kind, r validation.Request) validation.Result {
	body, err := json.Marshal(request{
		Check: k, Identifier: r.Identifier, Wildcard: r.Wildcard, Type: r.Type, Token: r.Token, Thumbprint: r.Thumbprint,
		AccountURIs: r.AccountURIs, FormerThumbprints: r.FormerThumbprints, HashPrefixes: r.HashPrefixes, CAA: c.caa,
	})
	if err != nil {
		return unanswered("the request can't be written")
	}
	text, why := c.post(ctx, body)
	if why != "" {
		return unanswered(why)
	}
	var got answer
	if err := json.Unmarshal(text, &got); err != nil || got.Request != digest(body) {
		return unanswered("it didn't answer the request")
	}
	return got.result()
}

func (c *Client) post(ctx context.Context, body []byte) (text []byte, why string) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, "the request can't be made"
	}
	post.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(post)
	if err != nil {
		return nil, "it can't be reached: " + cause(ctx, err)
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Sprintf("it answered with HTTP status %d: %s", response.StatusCode, acme.Printable(string(bytes.TrimSpace(text)), 128))
	case err != nil:
		return nil, "its answer broke off: " + cause(ctx, err)
	case len(text) > maxAnswer:
		return nil, "its answer is too large"
	}
	return text, ""
}

// cause is the inner part of an http.Client's error: who reads it knows the URL.
func cause(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "timed out, or called off"
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return acme.Printable(err.Error(), 200)
}

func unanswered(why string) validation.Result {
	return validation.Result{Problem: acme.NewProblem(acme.ServerInternal, "the perspective can't be asked now"), Transient: true, Cause: why}
}
