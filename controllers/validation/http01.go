package validation

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
)

const (
	maxRedirects = 10
	// maxLocation bounds the URL of a redirect, in bytes.
	maxLocation = 2048
	// maxHTTPAnswer bounds what is read of an answer, in bytes: header, encoding of the body, and the little body.
	maxHTTPAnswer = 32 << 10
	// maxInformational bounds the responses with a status of 1xx before the answer.
	maxInformational = 5
	// maxBodyShown bounds what a problem tells of a body, in bytes.
	maxBodyShown = 32

	userAgent = "acmeca-validation/1 (+https://acmeca.dev)"
)

// hop is one URL of an http-01 validation.
type hop struct {
	url *url.URL
	// own is whether this is the challenge's own path, and only answers from there led here. Where it isn't, a
	// redirect chose the path, possibly of a server that the client can't reach: nothing that such a server says, in a
	// body or a redirect of its own, is shown.
	own bool
	// learnt is whether the URL itself was learnt from there.
	learnt bool
}

// shown is as much of the URL as may be shown.
func (h hop) shown() string {
	if h.learnt {
		return h.url.String()
	}
	return h.url.Scheme + "://" + h.url.Host + "/..."
}

// String is for people.
func (h hop) String() string { return fmt.Sprintf("%q", acme.Printable(h.shown(), 256)) }

// http01 is RFC 8555 section 8.3: the key authorization is what a GET of the well-known path returns.
func (a *attempt) http01(ctx context.Context) (verdict, *failure) {
	target := hop{url: a.http01URL(), own: true, learnt: true}
	visited := []string{target.url.String()}
	for {
		response, failed := a.fetch(ctx, target)
		if failed != nil {
			return unproven, failed
		}
		if !redirects(response.status) {
			return a.judgeHTTP01(target, response)
		}
		to, failed := a.redirect(target, response)
		if failed != nil {
			return unproven, failed
		}
		if slices.Contains(visited, to.String()) {
			return unproven, definite(acme.Connection, "the redirects from %q form a loop", visited[0])
		}
		if visited = append(visited, to.String()); len(visited) > maxRedirects+1 {
			return unproven, definite(acme.Connection, "there are more than %d redirects from %q", maxRedirects, visited[0])
		}
		ownPath := to.EscapedPath() == a.http01Path() && to.RawQuery == ""
		target = hop{url: to, own: target.own && ownPath, learnt: target.own}
	}
}

func (a *attempt) http01URL() *url.URL {
	return &url.URL{
		Scheme: "http",
		Host:   hostPort(a.req.Identifier.Value, a.httpPort, DefaultHTTPPort),
		Path:   a.http01Path(),
	}
}

func (a *attempt) http01Path() string { return "/.well-known/acme-challenge/" + a.req.Token }

// hostPort is the authority of a URL (RFC 3986 section 3.2), without the port where it is the scheme's own.
func hostPort(host string, port uint16, standard int) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	if int(port) == standard {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}

func (a *attempt) judgeHTTP01(target hop, response httpResponse) (verdict, *failure) {
	if response.status != http.StatusOK {
		failed := definite(acme.Unauthorized, "%v answered with HTTP status %d", target, response.status)
		switch response.status {
		case http.StatusNotFound, // the response may not be provisioned on every server yet (RFC 8555 section 8.2)
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout: // a solver may still be starting
			failed.transient = true
		}
		return unproven, failed
	}
	if len(response.body) <= maxKeyAuthorization &&
		string(bytes.TrimRight(response.body, " \t\r\n")) == a.keyAuthorization() {
		return proven, nil
	}
	const wrong = "%v answered with something other than the key authorization"
	if !target.own {
		return unproven, definite(acme.IncorrectResponse, wrong, target)
	}
	return unproven, definite(acme.IncorrectResponse, wrong+": %q", target, acme.Printable(string(response.body), maxBodyShown))
}

// httpResponse is all that is taken of an answer.
type httpResponse struct {
	status   int
	location string
	// body has at most one byte more than a key authorization may.
	body []byte
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect judges where an answer leads to. Its host is resolved and judged when it is fetched.
func (a *attempt) redirect(from hop, response httpResponse) (*url.URL, *failure) {
	refused := func(why string) *failure {
		if !from.own {
			return definite(acme.Connection, "%v redirects: %s", from, why)
		}
		return definite(acme.Connection, "%v redirects to %q: %s", from, acme.Printable(response.location, 128), why)
	}
	if response.location == "" || len(response.location) > maxLocation {
		return nil, refused("its Location is missing or too long")
	}
	to, err := from.url.Parse(response.location)
	if err != nil {
		return nil, refused("not a URL")
	}
	to.Fragment, to.RawFragment = "", ""
	if to.User != nil {
		return nil, refused("a URL with credentials isn't followed")
	}
	if to.Scheme != "http" && to.Scheme != "https" {
		return nil, refused("only http and https are followed")
	}
	if !plainHost(to.Hostname()) {
		return nil, refused("its host is neither a domain name nor an IP address")
	}
	if port, ok := a.portOf(to); !ok {
		return nil, refused(fmt.Sprintf("only ports %d and %d are followed", a.httpPort, a.httpsPort))
	} else if to.Port() == "" {
		standard := DefaultHTTPPort
		if to.Scheme == "https" {
			standard = DefaultHTTPSPort
		}
		to.Host = hostPort(to.Hostname(), port, standard)
	}
	return to, nil
}

// portOf gives the port of a URL: the configured one where it names none.
func (a *attempt) portOf(u *url.URL) (uint16, bool) {
	if u.Port() == "" {
		if u.Scheme == "https" {
			return a.httpsPort, true
		}
		return a.httpPort, true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return uint16(port), err == nil && (uint16(port) == a.httpPort || uint16(port) == a.httpsPort)
}

func plainHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	id, problem := acme.Identifier{Type: acme.DNS, Value: host}.Normalize()
	return problem == nil && !id.Wildcard()
}

// fetch does one GET, on a connection of its own.
func (a *attempt) fetch(ctx context.Context, target hop) (httpResponse, *failure) {
	a.record.addURL(target.shown())
	port, ok := a.portOf(target.url)
	if !ok {
		// The first URL has the configured port, or none where that is port 80, and redirect has looked at the others.
		return httpResponse{}, definite(acme.ServerInternal, "the port of %v isn't configured", target)
	}
	conn, failed := a.reach(ctx, target.url.Hostname(), port)
	if failed != nil {
		return httpResponse{}, failed
	}
	defer hangUp(conn)
	if target.url.Scheme == "https" {
		secure, failed := a.redirectTLS(ctx, conn, target.url.Hostname())
		if failed != nil {
			return httpResponse{}, failed
		}
		conn = secure
	}
	return a.get(ctx, conn, target)
}

// redirectTLS doesn't verify the certificate (RFC 8555 section 8.3 says nothing of it, and the first request was in the
// clear anyway): a site that renews an expired certificate has nothing else to show.
func (a *attempt) redirectTLS(ctx context.Context, conn net.Conn, host string) (net.Conn, *failure) {
	secure := tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, tlsFailure(ctx, err, a.record.AddressUsed)
	}
	return secure, nil
}

// get does without http.Client and http.Transport: what they add (redirects, cookies, proxies, connections kept, retries)
// is what must not happen here, and they log what a peer sends.
func (a *attempt) get(ctx context.Context, conn net.Conn, target hop) (httpResponse, *failure) {
	request := &http.Request{
		Method: http.MethodGet,
		URL:    target.url,
		Host:   target.url.Host,
		Header: http.Header{
			"User-Agent": {userAgent}, "Accept": {"*/*"},
			// Without it the server may choose any coding (RFC 9110 section 12.5.3), and none is decoded here.
			"Accept-Encoding": {"identity"},
		},
		Close: true,
	}
	if err := request.Write(conn); err != nil {
		return httpResponse{}, httpFailure(ctx, err, target)
	}
	limited := &io.LimitedReader{R: conn, N: maxHTTPAnswer}
	response, err := readHTTP(bufio.NewReader(limited), request)
	if err != nil && limited.N == 0 {
		return httpResponse{}, definite(acme.IncorrectResponse, "fetching %v: the answer has too long a header", target)
	}
	if err != nil {
		return httpResponse{}, httpFailure(ctx, err, target)
	}
	return response, nil
}

func readHTTP(from *bufio.Reader, request *http.Request) (httpResponse, error) {
	for range maxInformational + 1 {
		answer, err := http.ReadResponse(from, request) //nolint:bodyclose // that would read all of it; the connection is closed instead
		if err != nil {
			return httpResponse{}, err
		}
		switch {
		case answer.StatusCode < 200: // RFC 9110 section 15.2: a client reads on
			continue
		case answer.StatusCode != http.StatusOK:
			return httpResponse{status: answer.StatusCode, location: answer.Header.Get("Location")}, nil
		}
		body, err := io.ReadAll(io.LimitReader(answer.Body, maxKeyAuthorization+1))
		return httpResponse{status: answer.StatusCode, body: body}, err
	}
	return httpResponse{}, errTooManyInformational
}

var errTooManyInformational = errors.New("too many informational responses")

// httpFailure tells a broken connection, which may get better, from an answer that isn't HTTP. The error's own text is
// left out, since it can hold what the peer sent.
func httpFailure(ctx context.Context, err error, target hop) *failure {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if why := reason(err); why != "" {
		return transient("fetching %v: %s", target, why)
	}
	return definite(acme.IncorrectResponse, "fetching %v: the answer isn't proper HTTP", target)
}

// tlsFailure tells a broken connection from a failed handshake (RFC 8555 section 6.7's "tls").
func tlsFailure(ctx context.Context, err error, address string) *failure {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if why := reason(err); why != "" {
		return transient("TLS handshake with %s: %s", address, why)
	}
	return definite(acme.TLS, "TLS handshake with %s: %s", address, acme.Printable(strings.TrimPrefix(err.Error(), "tls: "), 128))
}
