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
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// Config of a Client.
type Config struct {
	// URL of the validator: "https://host:port", with a path prefix if the validator is behind a proxy.
	URL string
	// CABundle holds the only trusted roots for the validator's certificate, in PEM.
	CABundle []byte
	// Certificate and Key of this client, in PEM.
	Certificate, Key []byte
	// CAA and CAAIdentities of the issuer, as in validation.Config.
	CAA           bool
	CAAIdentities []string
	// Dial connects to the validator; nil means a plain net.Dialer.
	Dial network.DialFunc
}

// Client sends checks to a validator. It is a validation.Checker, and safe for concurrent use.
type Client struct {
	url  string
	http *http.Client
	caa  caa
}

// NewClient returns a Client, or an error if the configuration is invalid.
func NewClient(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q must be an https URL without credentials, query and fragment", acme.Printable(c.URL, 256))
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
		IdleConnTimeout:     30 * time.Second, // a renewed certificate gets a new Client
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

// Validate asks the validator for one attempt at a challenge, and for a check of CAA.
func (c *Client) Validate(ctx context.Context, r validation.Request) validation.Result {
	return c.ask(ctx, kindChallenge, r)
}

// CheckCAA asks the validator to check CAA alone.
func (c *Client) CheckCAA(ctx context.Context, r validation.Request) validation.Result {
	return c.ask(ctx, kindCAA, r)
}

// ask sends a request and returns the validator's result, or a transient failure if there is none.
func (c *Client) ask(ctx context.Context, k kind, r validation.Request) validation.Result {
	body, err := json.Marshal(request{
		Check: k, Identifier: r.Identifier, Wildcard: r.Wildcard, Type: r.Type, Token: r.Token, Thumbprint: r.Thumbprint,
		AccountURIs: r.AccountURIs, FormerThumbprints: r.FormerThumbprints, HashPrefixes: r.HashPrefixes, CAA: c.caa,
	})
	if err != nil {
		return unanswered("the request can't be encoded")
	}
	text, why := c.post(ctx, body)
	if why != "" {
		return unanswered(why)
	}
	var got answer
	if err := json.Unmarshal(text, &got); err != nil || got.Request != digest(body) {
		return unanswered("its answer is malformed or for another request")
	}
	return got.result()
}

// post sends a request and returns the body of the response, or the reason why there is none.
func (c *Client) post(ctx context.Context, body []byte) (text []byte, why string) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, "the request is invalid"
	}
	post.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(post)
	if err != nil {
		return nil, "it is unreachable: " + cause(ctx, err)
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Sprintf("it answered with HTTP status %d: %s", response.StatusCode, acme.Printable(string(bytes.TrimSpace(text)), 128))
	case err != nil:
		return nil, "its answer is incomplete: " + cause(ctx, err)
	case len(text) > maxAnswer:
		return nil, "its answer is too large"
	}
	return text, ""
}

// cause returns the text of an http.Client's error without the URL, which its readers know.
func cause(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "timed out or cancelled"
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return acme.Printable(err.Error(), 200)
}

// unanswered returns a transient failure whose cause clients don't see.
func unanswered(why string) validation.Result {
	return validation.Result{Problem: acme.NewProblem(acme.ServerInternal, "the perspective is unavailable"), Transient: true, Cause: why}
}
