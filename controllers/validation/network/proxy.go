package network

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/proxy"

	"github.com/acmeca/acmeca/api/acme"
)

// maxProxyAnswer bounds the response to CONNECT, in bytes.
const maxProxyAnswer = 16 << 10

// Proxy is an egress proxy for networks without direct egress. It gets checked addresses, never names. Queries to resolvers
// don't use it.
type Proxy struct {
	// URL is "http://host:port" for a proxy with CONNECT (RFC 9110 section 9.3.6), or "socks5://host:port" for a SOCKS proxy (RFC
	// 1928).
	URL string
	// Username and Password for the proxy; an empty Username means none. They are sent to the proxy alone.
	Username, Password string
	// Dial connects to the proxy; nil for a plain net.Dialer.
	Dial DialFunc
}

// Dialer returns a function that connects through the proxy, or an error if the proxy is invalid.
func (p Proxy) Dialer() (DialFunc, error) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Hostname() == "" || !isPort(u.Port()) || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("the URL of a proxy must be http://host:port or socks5://host:port")
	}
	if p.Dial == nil {
		p.Dial = new(net.Dialer).DialContext
	}
	switch u.Scheme {
	case "http":
		return p.throughHTTP(u.Host), nil
	case "socks5":
		return p.throughSOCKS(u.Host)
	}
	return nil, fmt.Errorf("proxy scheme %q is not supported, only http and socks5 are", acme.Printable(u.Scheme, 16))
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// proxyError is a failure at the proxy, without data from the proxy.
type proxyError string

func (e proxyError) Error() string { return "the egress proxy " + string(e) }

func (p Proxy) dialProxy(ctx context.Context, address string) (net.Conn, error) {
	conn, err := p.Dial(ctx, "tcp", address)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	why := Reason(err)
	if why == "" {
		why = "failed"
	}
	return nil, proxyError("is unreachable: " + why)
}

func (p Proxy) throughHTTP(address string) DialFunc {
	header := http.Header{"User-Agent": {UserAgent}}
	if p.Username != "" {
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.Username+":"+p.Password)))
	}
	return func(ctx context.Context, _, target string) (net.Conn, error) {
		conn, err := p.dialProxy(ctx, address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { CloseQuietly(conn) })
		tunnel, err := connect(conn, target, header)
		if !stop() {
			err = ctx.Err()
		}
		if err != nil {
			CloseQuietly(conn)
			return nil, err
		}
		return tunnel, nil
	}
}

// connect requests a tunnel to the target on a connection to the proxy, and returns the tunnel.
func connect(conn net.Conn, target string, header http.Header) (net.Conn, error) {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: target}, Host: target, Header: header}
	if err := request.Write(conn); err != nil {
		return nil, proxyError("closed the connection")
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	from := bufio.NewReader(limited)
	answer, err := http.ReadResponse(from, request) //nolint:bodyclose // there is no body: the tunnel follows
	if err != nil {
		return nil, proxyError("sent an invalid response")
	}
	if answer.StatusCode != http.StatusOK {
		return nil, proxyError(fmt.Sprintf("answered with HTTP status %d", answer.StatusCode))
	}
	if early := from.Buffered(); early > 0 { // data from the target
		data, _ := from.Peek(early)
		return readConn{conn, io.MultiReader(strings.NewReader(string(data)), conn)}, nil
	}
	return conn, nil
}

// readConn is a connection whose reader also returns data that was read before.
type readConn struct {
	net.Conn
	reader io.Reader
}

func (c readConn) Read(b []byte) (int, error) { return c.reader.Read(b) }

func (p Proxy) throughSOCKS(address string) (DialFunc, error) {
	var auth *proxy.Auth
	if p.Username != "" {
		auth = &proxy.Auth{User: p.Username, Password: p.Password}
	}
	socks, err := proxy.SOCKS5("tcp", address, auth, contextDialer(p.dialProxy))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, target string) (net.Conn, error) {
		conn, err := socks.(proxy.ContextDialer).DialContext(ctx, network, target)
		var known proxyError
		var refused *net.OpError
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded): // the SOCKS client's deadline, shortly before the context's
			return nil, context.DeadlineExceeded
		case errors.As(err, &known):
			return nil, known
		case errors.As(err, &refused) && Reason(refused.Err) == "":
			return nil, proxyError("refused: " + acme.Printable(strings.TrimPrefix(refused.Err.Error(), "unknown error "), 64))
		}
		return nil, proxyError("sent an invalid response")
	}, nil
}

// contextDialer is the SOCKS client's dialer for the proxy.
type contextDialer func(ctx context.Context, address string) (net.Conn, error)

func (d contextDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d(ctx, address)
}

func (d contextDialer) Dial(_, address string) (net.Conn, error) {
	return d(context.Background(), address)
}
