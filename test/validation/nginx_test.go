package validation

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// startNginx runs nginx with the content of an http block, and waits until dial succeeds. prefix runs nginx in a
// network namespace, for example.
func startNginx(http string, dial func() (net.Conn, error), prefix ...string) {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	text := fmt.Sprintf(`
daemon off;
pid %[1]s/nginx.pid;
error_log stderr notice;
worker_processes 1;
events { worker_connections 256; }
http {
	access_log %[1]s/access.log;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
%[2]s
}
`, dir, http)
	config := filepath.Join(dir, "nginx.conf")
	Expect(os.WriteFile(config, []byte(text), 0o644)).To(Succeed())
	command := append(prefix, pathOf("nginx"), "-p", dir, "-c", config, "-e", "stderr")
	startServer(func() error {
		conn, err := dial()
		if err == nil {
			conn.Close()
		}
		return err
	}, command[0], command[1:]...)
}

// webServer is an nginx on loopback that serves a directory, and the files below /.well-known for each name.
type webServer struct {
	root string
	port int
}

func startWebServer() webServer {
	GinkgoHelper()
	w := webServer{root: GinkgoT().TempDir(), port: freePort()}
	// nginx's workers run as another user if nginx is started by root.
	for dir := w.root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		Expect(os.Chmod(dir, 0o755)).To(Succeed())
	}
	startNginx(fmt.Sprintf("server { listen 127.0.0.1:%d; listen 127.0.0.2:%[1]d; root %s; }", w.port, w.root), func() (net.Conn, error) {
		return net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(w.port), time.Second)
	})
	return w
}

// put sets the content of a path.
func (w webServer) put(path, text string) {
	GinkgoHelper()
	file := filepath.Join(w.root, filepath.FromSlash(path))
	Expect(os.MkdirAll(filepath.Dir(file), 0o755)).To(Succeed())
	Expect(os.WriteFile(file, []byte(text), 0o644)).To(Succeed())
}
