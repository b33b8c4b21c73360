package matrix

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

// busyProxy serves acmeca at a base of one issuer, and reports the first 503.
type busyProxy struct {
	port   int
	server *http.Server
	met    chan struct{} // closed at the first 503
}

func startBusyProxy() (*busyProxy, error) {
	p := &busyProxy{met: make(chan struct{})}
	if err := freeport.Choose(&p.port); err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(acmeca.TLSDir(), "tls.crt"), filepath.Join(acmeca.TLSDir(), "tls.key"))
	if err != nil {
		return nil, err
	}
	server, err := url.Parse(acmeca.BaseURL())
	if err != nil {
		return nil, err
	}
	once := sync.OnceFunc(func() { close(p.met) })
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			r.Out.Host = r.In.Host
		},
		Transport: trusting().Transport,
		ModifyResponse: func(response *http.Response) error {
			if response.StatusCode == http.StatusServiceUnavailable {
				once()
			}
			return nil
		},
	}
	listener, err := net.Listen("tcp", loopback(p.port))
	if err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	go func() { _ = p.server.ServeTLS(listener, "", "") }() // ends by stop
	return p, nil
}

func (p *busyProxy) base() string { return "https://" + loopback(p.port) }

func (p *busyProxy) stop() { _ = p.server.Close() }
