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
	"github.com/acmeca/acmeca/controllers/validation/network"
)

const (
	maxRedirects = 10
	// maxLocation bounds the Location of a redirect, in bytes.
	maxLocation = 2048
	// maxHTTPAnswer bounds the bytes that are read of a response: header, transfer coding and body.
	maxHTTPAnswer = 32 << 10
	// maxInformational bounds the 1xx responses before the final one.
	maxInformational = 5
	// maxBodyShown bounds the prefix of a body in a problem, in bytes.
	maxBodyShown = 32
)

// hop is one URL of an http-01 validation.
type hop struct {
	url *url.URL
	// own is whether this and all earlier URLs have the challenge's own path. Otherwise a redirect chose the path, possibly on a
	// server that the client can't reach. Nothing that such a server sends, in a body or a redirect, is shown.
	own bool
	// public is whether the URL comes from such an own URL, so that it may be shown.
	public bool
}

// shown returns the part of the URL that may be shown.
func (h hop) shown() string {
	if h.public {
		return h.url.String()
	}
	return h.url.Scheme + "://" + h.url.Host + "/..."
}

// String returns the quoted URL for problems.
func (h hop) String() string { return fmt.Sprintf("%q", acme.Printable(h.shown(), 256)) }

// http01 validates http-01 (RFC 8555 section 8.3): a GET of the well-known path returns the key authorization.
func (a *attempt) http01(ctx context.Context) (verdict, *failure) {
	target := hop{url: a.http01URL(), own: true, public: true}
	visited := []string{target.url.String()}
	for {
		response, failed := a.fetch(ctx, target)
		if failed != nil {
			return unproven, failed
		}
		if !redirects(response.status) {
			return a.checkHTTP01(target, response)
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
		target = hop{url: to, own: target.own && ownPath, public: target.own}
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

// hostPort returns the authority of a URL (RFC 3986 section 3.2), without the port if it is the scheme's standard port.
func hostPort(host string, port uint16, standard int) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	if int(port) == standard {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}

// checkHTTP01 compares a response with the key authorization.
func (a *attempt) checkHTTP01(target hop, response httpResponse) (verdict, *failure) {
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

// httpResponse is the part of a response that is used.
type httpResponse struct {
	status   int
	location string
	// body has at most one byte more than the longest key authorization.
	body []byte
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect returns the URL of a redirect, or a failure if it may not be followed. fetch resolves and checks its host.
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
		return nil, refused("URLs with credentials are not followed")
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

// portOf returns the port of a URL, by default the configured one of its scheme. It returns false for other ports.
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

// fetch sends one GET, on a new connection.
func (a *attempt) fetch(ctx context.Context, target hop) (httpResponse, *failure) {
	a.record.addURL(target.shown())
	port, ok := a.portOf(target.url)
	if !ok {
		// Unreachable: http01URL and redirect return no such URL.
		return httpResponse{}, definite(acme.ServerInternal, "the port of %v is not configured", target)
	}
	conn, failed := a.reach(ctx, target.url.Hostname(), port)
	if failed != nil {
		return httpResponse{}, failed
	}
	defer network.CloseQuietly(conn)
	if target.url.Scheme == "https" {
		secure, failed := a.redirectTLS(ctx, conn, target.url.Hostname())
		if failed != nil {
			return httpResponse{}, failed
		}
		conn = secure
	}
	return a.get(ctx, conn, target)
}

// redirectTLS starts TLS on a connection, without verifying the certificate: a site that renews an expired certificate has no
// other one. RFC 8555 section 8.3 does not ask for verification, and the first request was unencrypted anyway.
func (a *attempt) redirectTLS(ctx context.Context, conn net.Conn, host string) (net.Conn, *failure) {
	secure := tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, tlsFailure(ctx, err, a.record.AddressUsed)
	}
	return secure, nil
}

// get sends a GET and reads the response. It does not use http.Client and http.Transport: their redirects, cookies, proxies,
// persistent connections and retries must not happen here, and they log data from the peer.
func (a *attempt) get(ctx context.Context, conn net.Conn, target hop) (httpResponse, *failure) {
	request := &http.Request{
		Method: http.MethodGet,
		URL:    target.url,
		Host:   target.url.Host,
		Header: http.Header{
			"User-Agent": {network.UserAgent}, "Accept": {"*/*"},
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
		return httpResponse{}, definite(acme.IncorrectResponse, "fetching %v: the header of the response is too long", target)
	}
	if err != nil {
		return httpResponse{}, httpFailure(ctx, err, target)
	}
	return response, nil
}

// readHTTP reads the final response to a request.
func readHTTP(from *bufio.Reader, request *http.Request) (httpResponse, error) {
	for range maxInformational + 1 {
		answer, err := http.ReadResponse(from, request) //nolint:bodyclose // Close would read the whole body; the connection is closed instead
		if err != nil {
			return httpResponse{}, err
		}
		switch {
		case answer.StatusCode < 200: // informational, RFC 9110 section 15.2
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

// httpFailure returns a transient failure for a broken connection, and a definite one for a response that is not HTTP. It omits
// the text of the error, which can contain data from the peer.
func httpFailure(ctx context.Context, err error, target hop) *failure {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if why := network.Reason(err); why != "" {
		return transient("fetching %v: %s", target, why)
	}
	return definite(acme.IncorrectResponse, "fetching %v: the response is not valid HTTP", target)
}

// tlsFailure returns a transient failure for a broken connection, and a definite one ("tls", RFC 8555 section 6.7) for a failed
// handshake.
func tlsFailure(ctx context.Context, err error, address string) *failure {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if why := network.Reason(err); why != "" {
		return transient("TLS handshake with %s: %s", address, why)
	}
	return definite(acme.TLS, "TLS handshake with %s: %s", address, acme.Printable(strings.TrimPrefix(err.Error(), "tls: "), 128))
}
