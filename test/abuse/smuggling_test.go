package abuse

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// startProxy runs an nginx in front of the ACME server, with TLS only to the server, and with persistent connections.
func startProxy() (port int) {
	GinkgoHelper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx"
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("ACMECA_REQUIRE_CLIENTS") != "" {
			Fail("nginx is missing")
		}
		Skip("nginx is missing: apt-get install nginx-light")
	}
	ports, err := local.FreePorts()
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	config := filepath.Join(dir, "nginx.conf")
	Expect(os.WriteFile(config, fmt.Appendf(nil, `
daemon off; pid %[1]s/nginx.pid; error_log stderr notice; worker_processes 1; events { worker_connections 256; }
http {
	access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	upstream acmeca { server 127.0.0.1:%[2]d; keepalive 4; }
	server { listen 127.0.0.1:%[3]d; location / {
		proxy_pass https://acmeca; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host 127.0.0.1:%[2]d;
	} }
}
`, dir, acmeca.Ports().HTTPS, ports.HTTP01), 0o644)).To(Succeed())
	nginx, err := process.Start(process.Spec{Name: "nginx", Path: path, Args: []string{"-p", dir, "-c", config, "-e", "stderr"}, Log: filepath.Join(dir, "log", "nginx.log")})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { nginx.Stop(5 * time.Second) })
	Eventually(func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports.HTTP01))
		if err == nil {
			_ = conn.Close()
		}
		return err
	}).WithTimeout(20 * time.Second).Should(Succeed())
	return ports.HTTP01
}

// smuggled lists requests whose end two servers could determine differently. Each is followed by a request for a path
// that nothing else requests. An answer for that path shows that the two servers disagreed.
var smuggled = map[string]string{
	"both lengths":                "POST /acme/new-order HTTP/1.1\r\nHost: h\r\nContent-Type: application/jose+json\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
	"two lengths":                 "POST /acme/new-order HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
	"a length with a sign":        "POST /acme/new-order HTTP/1.1\r\nHost: h\r\nContent-Length: +0\r\n\r\n",
	"an odd transfer encoding":    "POST /acme/new-order HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"a hidden transfer encoding":  "POST /acme/new-order HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"a chunk with a bare newline": "POST /acme/new-order HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;\nX\r\n0\r\n\r\n",
	"a folded header":             "GET /acme/directory HTTP/1.1\r\nHost: h\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
	"a newline in the path":       "GET /acme/directory%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n",
}

var _ = Describe("A request that two servers could parse differently", func() {
	// ask sends a smuggled request followed by one for a canary, and counts the answers.
	ask := func(conn net.Conn, first string) (statuses []int) {
		GinkgoHelper()
		defer conn.Close()
		Expect(conn.SetDeadline(time.Now().Add(20 * time.Second))).To(Succeed())
		_, err := io.WriteString(conn, first+"GET /acme/canary HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if err != nil {
			return nil
		}
		reader := bufio.NewReader(conn)
		for {
			response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodGet})
			if err != nil {
				return statuses
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			statuses = append(statuses, response.StatusCode)
		}
	}

	It("is parsed in one way by the ACME server, also through a proxy", func() {
		proxy := startProxy()
		for what, request := range smuggled {
			By(what)
			direct, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", acmeca.Ports().HTTPS), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
			Expect(err).NotTo(HaveOccurred())
			statuses := ask(direct, request)
			AddReportEntry(what, fmt.Sprint("ACME server: ", statuses))
			Expect(len(statuses)).To(BeNumerically("<=", 2), "more answers than requests")
			for _, status := range statuses {
				Expect(status).To(Or(BeNumerically("<", 500), Equal(http.StatusNotImplemented)))
			}
			proxied, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", proxy))
			Expect(err).NotTo(HaveOccurred())
			statuses = ask(proxied, request)
			AddReportEntry(what, fmt.Sprint("through nginx: ", statuses))
			Expect(len(statuses)).To(BeNumerically("<=", 2), "more answers than requests")
			// The next client on the proxy's persistent connections gets its own answer.
			for range 4 {
				response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/acme/directory", proxy))
				Expect(err).NotTo(HaveOccurred())
				body, err := io.ReadAll(response.Body)
				Expect(err).NotTo(HaveOccurred())
				Expect(response.Body.Close()).To(Succeed())
				Expect(response.StatusCode).To(Equal(http.StatusOK), "%s", body)
				Expect(strings.Contains(string(body), "newOrder")).To(BeTrue())
			}
		}
	})
})
