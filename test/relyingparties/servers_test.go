package relyingparties

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// The servers that verify the certificates of clients.

// server is a server that runs. signal makes it read its files again; zero means a restart.
type server struct {
	*site
	process programs.Process
	signal  syscall.Signal
	// ask connects as a client with a certificate, and returns the answer. An error is a refusal.
	ask func(context.Context, *site, string) (string, error)
	// restart starts another process, for a server without a signal.
	restart func(context.Context) programs.Process
}

func (s *server) verify(ctx context.Context, name string) (bool, string) {
	before := len(s.log())
	answer, err := s.ask(ctx, s.site, name)
	if err == nil {
		return true, answer
	}
	return false, err.Error() + "\n" + s.log()[before:]
}

func (s *server) log() string {
	text, _ := os.ReadFile(s.process.Log) // a restart has another file
	return string(text)
}

func (s *server) reload(ctx context.Context) {
	GinkgoHelper()
	if s.signal == 0 {
		s.process = s.restart(ctx)
		return
	}
	Expect(syscall.Kill(s.process.PID, s.signal)).To(Succeed())
}

var errRefused = errors.New("refused")

// askHTTP expects the greeting.
func askHTTP(ctx context.Context, s *site, name string) (string, error) {
	transport := &http.Transport{TLSClientConfig: s.tls(name), DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s/", loopback(s.port)), http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: %s", errRefused, response.Status, body)
	}
	return string(body), err
}

// askMQTT sends a CONNECT of MQTT 3.1.1, and expects a CONNACK.
func askMQTT(ctx context.Context, s *site, name string) (string, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: s.tls(name)}
	conn, err := dialer.DialContext(ctx, "tcp", loopback(s.port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")); err != nil {
		return "", err
	}
	acknowledgement := make([]byte, 4)
	if _, err := io.ReadFull(conn, acknowledgement); err != nil {
		return "", err
	}
	if acknowledgement[0] != 0x20 || acknowledgement[3] != 0 {
		return "", fmt.Errorf("%w: %x", errRefused, acknowledgement)
	}
	return "connected", nil
}

// tls is the configuration of a client that has a certificate, and trusts the CA.
func (s *site) tls(name string) *tls.Config {
	GinkgoHelper()
	certificate, err := tls.X509KeyPair(pki.chain(name), pki.key(name))
	Expect(err).NotTo(HaveOccurred())
	return &tls.Config{ServerName: address, RootCAs: certificates.Pool(pki.roots), Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
}

var nginx = &party{
	name: "nginx", needs: []string{"nginx", "nginx-light"}, versionOf: "nginx",
	checks: "chain", refresh: "`nginx -s reload`",
	open: func(_ context.Context, s *site) verifier {
		frame := fmt.Sprintf("daemon off;\npid %[1]s/pid;\nevents { }\nerror_log stderr info;\nhttp {\naccess_log off;\n", s.dir)
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			frame += fmt.Sprintf("%s_temp_path %s;\n", kind, s.path(kind))
		}
		config := s.write("nginx.conf", []byte(frame+s.file("nginx", "nginx")+"}\n"))
		process := programs.Start(programs.Accepts(loopback(s.port)), nil, programs.Path("nginx"), "-c", config, "-e", "stderr")
		return &server{site: s, process: process, signal: syscall.SIGHUP, ask: askHTTP}
	},
}

var haproxy = &party{
	name: "HAProxy", needs: []string{"haproxy", "haproxy"}, versionOf: "haproxy",
	checks: "chain", refresh: "a reload",
	open: func(ctx context.Context, s *site) verifier {
		_, done := s.run(ctx, "HAProxy")
		Expect(done).To(BeTrue())
		frame := "global\n    log stderr format raw local0\ndefaults\n    log global\n    option httplog\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n"
		config := s.write("haproxy.cfg", []byte(frame+s.file("HAProxy", "haproxy")))
		process := programs.Start(programs.Accepts(loopback(s.port)), nil, programs.Path("haproxy"), "-W", "-db", "-f", config)
		return &server{site: s, process: process, signal: syscall.SIGUSR2, ask: askHTTP}
	},
}

// postgresPrograms is where Debian has the server's programs.
const postgresPrograms = "/usr/lib/postgresql/*/bin/"

var postgresql = &party{
	name: "PostgreSQL", needs: []string{"psql", "postgresql"}, files: []string{postgresPrograms + "postgres", "postgresql"}, versionOf: "postgresql-15",
	checks: "chain", refresh: "`SELECT pg_reload_conf()`",
	open: func(ctx context.Context, s *site) verifier {
		// The server refuses to run as root, and to read a key that others can read.
		var as []string
		if os.Getuid() == 0 {
			as = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
			Expect(os.Chown(s.dir, 65534, 65534)).To(Succeed())
			Expect(os.Chown(s.path("tls.key"), 65534, 65534)).To(Succeed())
		}
		Expect(os.Chmod(s.path("tls.key"), 0o600)).To(Succeed())
		initdb := append(as, find(postgresPrograms+"initdb"), "--no-sync", "--auth=trust", "--username=app", "--pgdata="+s.path("data"))
		programs.Run(ctx, nil, initdb[0], initdb[1:]...)
		s.write("data/pg_hba.conf", []byte(s.file("PostgreSQL", "text")))
		config := fmt.Sprintf("port = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nfsync = off\n%s", s.port, s.dir, s.file("PostgreSQL", "ini"))
		s.write("data/postgresql.conf", []byte(config))
		postgres := append(as, find(postgresPrograms+"postgres"), "-D", s.path("data"))
		process := programs.Start(programs.Accepts(loopback(s.port)), nil, programs.Path(postgres[0]), postgres[1:]...)
		return &server{site: s, process: process, signal: syscall.SIGHUP, ask: askPostgreSQL}
	},
}

// askPostgreSQL connects with psql, which starts TLS within PostgreSQL's protocol.
func askPostgreSQL(ctx context.Context, s *site, name string) (string, error) {
	s.write("client.crt", pki.chain(name))
	s.write("client.key", pki.key(name))
	if err := os.Chmod(s.path("client.key"), 0o600); err != nil { // psql refuses a key that others can read
		return "", err
	}
	connection := fmt.Sprintf("host=127.0.0.1 port=%d user=app dbname=postgres sslmode=verify-full sslrootcert=%s sslcert=%s sslkey=%s",
		s.port, s.path("ca.crt"), s.path("client.crt"), s.path("client.key"))
	output, err := exec.CommandContext(ctx, "psql", "--no-psqlrc", "--tuples-only", "--command", "SELECT 'hello'", connection).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return string(output), nil
}

var apacheChain, apacheLeaf = apache("Apache (chain)", "chain", ""), apache("Apache (leaf)", "leaf", "misses a revoked intermediate")

func apache(name, check, note string) *party {
	return &party{
		name: name, needs: []string{"apache2", "apache2"}, versionOf: "apache2",
		checks: check, refresh: "`apachectl graceful`", note: note,
		open: func(_ context.Context, s *site) verifier {
			frame := fmt.Sprintf("ServerRoot %[1]s\nDefaultRuntimeDir %[1]s\nServerName localhost\nPidFile %[1]s/pid\nErrorLog /dev/stderr\nLogLevel info\nListen 127.0.0.1:%[2]d\nDocumentRoot %[1]s/www\nDirectoryIndex index.txt\n",
				s.dir, s.port)
			for _, module := range []string{"mpm_event", "authz_core", "dir", "socache_shmcb", "ssl"} {
				frame = fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", module, module) + frame
			}
			Expect(os.Mkdir(s.path("www"), 0o755)).To(Succeed())
			s.write("www/index.txt", []byte(greeting))
			host := strings.Replace(s.file("Apache", "apache"), "RevocationCheck chain", "RevocationCheck "+check, 1)
			config := s.write("apache.conf", []byte(frame+host))
			process := programs.Start(programs.Accepts(loopback(s.port)), nil, programs.Path("apache2"), "-DFOREGROUND", "-f", config)
			return &server{site: s, process: process, signal: syscall.SIGUSR1, ask: askHTTP}
		},
	}
}

var mosquitto = &party{
	name: "mosquitto", needs: []string{"mosquitto", "mosquitto"}, versionOf: "mosquitto",
	checks: "leaf", refresh: "SIGHUP", note: "misses a revoked intermediate",
	open: func(_ context.Context, s *site) verifier {
		config := s.write("mosquitto.conf", []byte("user root\n"+s.file("mosquitto", "ini")))
		process := programs.Start(programs.Accepts(loopback(s.port)), nil, programs.Path("mosquitto"), "-v", "-c", config)
		return &server{site: s, process: process, signal: syscall.SIGHUP, ask: askMQTT}
	},
}

var stunnel = &party{
	name: "stunnel", needs: []string{"stunnel4", "stunnel4"}, versionOf: "stunnel4",
	checks: "leaf", refresh: "SIGHUP", note: "misses a revoked intermediate",
	open: func(_ context.Context, s *site) verifier {
		behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(greeting)) // the client sees a failure
		}))
		DeferCleanup(behind.Close)
		_, port, err := splitPort(behind.Listener.Addr().String())
		Expect(err).NotTo(HaveOccurred())
		s.replace("8080", fmt.Sprint(port))
		frame := "foreground = yes\nsyslog = no\npid =\n"
		config := s.write("stunnel.conf", []byte(frame+s.file("stunnel", "ini")))
		process := programs.Start(programs.Accepts(loopback(s.port)), nil, programs.Path("stunnel4"), config)
		return &server{site: s, process: process, signal: syscall.SIGHUP, ask: askHTTP}
	},
}

var gnutlsServ = &party{
	name: "gnutls-serv", needs: []string{"gnutls-serv", "gnutls-bin"}, versionOf: "gnutls-bin",
	checks: "chain", refresh: "a restart", without: accepts, note: "reads one CRL of a CA",
	open: func(ctx context.Context, s *site) verifier {
		start := func(context.Context) programs.Process {
			s.port = programs.FreePort()
			s.replace()
			return programs.Start(programs.Accepts(loopback(s.port)), nil, "/bin/bash", "-c", s.commands("gnutls-serv"))
		}
		return &server{site: s, process: start(ctx), restart: start, ask: askHTTP}
	},
}

// find returns the newest file of a pattern, or "".
func find(pattern string) string {
	files, _ := filepath.Glob(pattern) // the patterns are constants
	if len(files) == 0 {
		return ""
	}
	return files[len(files)-1]
}

func splitPort(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := net.LookupPort("tcp", text)
	return host, port, err
}
