package certmanager

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// serviceHost is the name of acmeca's Service.
const serviceHost = "acmeca.acmeca-system.svc"

// clusterNetwork is an HTTP proxy that connects cert-manager to acmeca's Service, and its self-checks to the solvers.
// There is neither cluster DNS nor kube-proxy here.
type clusterNetwork struct {
	listener net.Listener
	solvers  *httputil.ReverseProxy
}

func startNetwork() *clusterNetwork {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	solvers := net.JoinHostPort("127.0.0.1", strconv.Itoa(acmeca.Ports().HTTP01))
	n := &clusterNetwork{listener: listener, solvers: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Host = solvers
		r.Out.Host = r.In.Host
	}}}
	server := &http.Server{Handler: n, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	DeferCleanup(server.Close)
	return n
}

// environment makes a program use the proxy. Go never uses a proxy for loopback, where the API server is.
func (n *clusterNetwork) environment() []string {
	url := "http://" + n.listener.Addr().String()
	return []string{"HTTP_PROXY=" + url, "HTTPS_PROXY=" + url, "NO_PROXY="}
}

func (n *clusterNetwork) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect && r.Host == serviceHost+":443":
		n.tunnel(w)
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Hostname(), "."+zone.Zone):
		n.solvers.ServeHTTP(w, r)
	default:
		http.Error(w, "no such host", http.StatusBadGateway)
	}
}

// tunnel connects a client to the Service.
func (n *clusterNetwork) tunnel(w http.ResponseWriter) {
	service, err := net.Dial("tcp", strings.TrimPrefix(acmeca.BaseURL(), "https://"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer service.Close()
	w.WriteHeader(http.StatusOK)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(service, buffered)
		_ = service.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, service)
}
