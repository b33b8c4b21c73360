package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acmeca/acmeca/internal/test/project"
)

// echo answers with the address of the client as the server sees it.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })

// behindProxies serves handler behind proxies with the given addresses, with a limit on connections.
func behindProxies(t *testing.T, handler http.Handler, limit int, secured *tls.Config, trusted ...string) (address string) {
	t.Helper()
	var proxies []netip.Prefix
	for _, text := range trusted {
		proxies = append(proxies, netip.MustParsePrefix(text))
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(t.Context(), handler, func(string) {})
	listener := Limits{Connections: limit, PerClient: limit, Proxies: proxies, PROXYProtocol: true}.Apply(server, inner)
	if secured != nil {
		listener = tls.NewListener(listener, secured)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return inner.Addr().String()
}

// version2 returns a version 2 header. command and family are its 13th and 14th byte.
func version2(command, family byte, addresses ...byte) string {
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{command, family, 0, byte(len(addresses))}) + string(addresses)
}

const header1 = "PROXY TCP4 198.51.100.7 192.0.2.1 4660 443\r\n"

const request = "GET / HTTP/1.1\r\nHost: acme.test\r\nConnection: close\r\n\r\n"

// exchange sends text in one write, and returns everything read until the connection ends.
func exchange(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text) // a reset ends the exchange
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestPROXYHeaders(t *testing.T) {
	ports := []byte{0x12, 0x34, 0x01, 0xbb}
	inIPv6 := append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.IPv6Loopback().AsSlice()...), ports...)
	for name, test := range map[string]struct {
		header string
		client string // "" if the connection ends without an answer
	}{
		"version 1, IPv4":              {header1, "198.51.100.7:4660"},
		"version 1, IPv6":              {"PROXY TCP6 2001:db8::7 2001:db8::1 4660 443\r\n", "[2001:db8::7]:4660"},
		"version 1, unknown":           {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"version 2, IPv4":              {version2(0x21, 0x11, append([]byte{198, 51, 100, 7, 192, 0, 2, 1}, ports...)...), "198.51.100.7:4660"},
		"version 2, IPv6":              {version2(0x21, 0x21, inIPv6...), "[2001:db8::7]:4660"},
		"version 2, of the proxy's":    {version2(0x20, 0), "127.0.0.1"},
		"none":                         {"", ""},
		"version 1 without an end":     {"PROXY TCP4 198.51.100.7 " + strings.Repeat("1", 200), ""},
		"version 1 with a bad address": {"PROXY TCP4 198.51.100.700 192.0.2.1 4660 443\r\n", ""},
		"version 1 with a bad port":    {"PROXY TCP4 198.51.100.7 192.0.2.1 466000 443\r\n", ""},
		"version 2, cut":               {version2(0x21, 0x11, 198, 51, 100, 7), ""},
		"version 2, UDP":               {version2(0x21, 0x12, append([]byte{198, 51, 100, 7, 192, 0, 2, 1}, ports...)...), ""},
		"version 2, unix":              {version2(0x21, 0x31, bytes.Repeat([]byte{'a'}, 216)...), ""},
		"version 3":                    {version2(0x31, 0x11, append([]byte{198, 51, 100, 7, 192, 0, 2, 1}, ports...)...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer := exchange(t, behindProxies(t, echo, 9, nil, "127.0.0.0/8"), test.header+request)
			_, body, _ := strings.Cut(answer, "\r\n\r\n")
			if test.client == "" && answer != "" || test.client != "" && !strings.HasPrefix(body, test.client) {
				t.Errorf("got %q, want %q", answer, test.client)
			}
		})
	}
}

func TestPROXYHeadersOfUntrustedPeersAreRefused(t *testing.T) {
	address := behindProxies(t, echo, 9, nil, "192.0.2.0/24")
	if answer := exchange(t, address, header1+request); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("with a header: got %q", answer)
	}
	if answer := exchange(t, address, request); !strings.Contains(answer, "\r\n\r\n127.0.0.1:") {
		t.Errorf("without: got %q", answer)
	}
}

// A proxy that sends no header does not block other connections.
func TestMissingPROXYHeadersBlockNoOtherConnection(t *testing.T) {
	address := behindProxies(t, echo, 200, nil, "127.0.0.0/8")
	for range 100 {
		silent, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	if answer := exchange(t, address, header1+request); !strings.Contains(answer, "198.51.100.7:4660") {
		t.Errorf("got %q", answer)
	}
}

// A connection through a proxy is not evicted while its request is served.
func TestPROXYConnectionsAreBounded(t *testing.T) {
	serving, release := make(chan bool), make(chan bool)
	var first sync.Once
	address := behindProxies(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		first.Do(func() {
			close(serving)
			<-release
		})
	}), 1, nil, "127.0.0.0/8")
	answered := make(chan string)
	go func() { answered <- exchange(t, address, header1+request) }()
	<-serving
	if answer := exchange(t, address, header1+request); answer != "" {
		t.Errorf("a second one is answered: %q", answer)
	}
	close(release)
	if answer := <-answered; !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("the first one is answered: %q", answer)
	}
}

// HAProxy runs with the configuration of the guide, and passes TLS through.
func TestHAProxyOfTheGuide(t *testing.T) {
	haproxy := findHAProxy(t)
	secure := httptest.NewUnstartedServer(nil)
	secure.StartTLS()
	defer secure.Close()
	dir := t.TempDir()
	upstream := behindProxies(t, echo, 9, &tls.Config{Certificates: secure.TLS.Certificates}, "127.0.0.1/32")
	front, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	socket, err := front.File() // HAProxy inherits it, so no port has to be chosen
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	config := guideBlock(t, "haproxy")
	for _, change := range [][2]string{{"bind :443", "bind fd@3"}, {"acmeca.acmeca-system.svc:443", upstream}} {
		if strings.Count(config, change[0]) != 1 {
			t.Fatalf("the guide's configuration has no %q", change[0])
		}
		config = strings.Replace(config, change[0], change[1], 1)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, haproxy, "-db", "-f", file)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &output, &output, []*os.File{socket}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		cancel() // the client need not wait any longer
	}()

	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // an address that is not trusted
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: dialer.DialContext, DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+front.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		cancel()
		t.Fatalf("%v\n%s", err, output.String())
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.HasPrefix(string(body), "127.0.0.2:") {
		t.Errorf("got %q, %v", body, err)
	}
}

func findHAProxy(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	const lacking = "haproxy isn't installed: apt-get install haproxy"
	if os.Getenv("ACMECA_REQUIRE_CLIENTS") == "1" {
		t.Fatal(lacking)
	}
	t.Skip(lacking)
	return ""
}

// guideBlock returns the block of a language in the guide on proxies.
func guideBlock(t *testing.T, language string) string {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "guides", "perspectives-and-proxies.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```"+language+"\n")
	block, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatalf("the guide has no block of %s", language)
	}
	return block + "\n"
}
