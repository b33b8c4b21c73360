package matrix

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

// served returns the chain that a server on loopback shows for the site's name, if the site's issuer signed it.
func (s *site) served(ctx context.Context, port int) ([]byte, error) {
	issuer, err := getIssuer(ctx, s.issuer)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(issuer.Status.CABundle))
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{ServerName: s.name, RootCAs: roots}}
	conn, err := dialer.DialContext(ctx, "tcp", loopback(port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var chain []byte
	for _, certificate := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return chain, nil
}

// caddy renews by time alone, so its certificate is removed and its account stays.
var caddy = &acmeClient{
	name: "Caddy", needs: []string{"caddy", "caddy"}, version: packageVersion("caddy"),
	open: func(s *site) session {
		obtain := func(ctx context.Context) (chain []byte, err error) {
			var https int
			if err := freeport.Choose(&https); err != nil {
				return nil, err
			}
			external := ""
			if s.external != nil {
				external = fmt.Sprintf("\tacme_eab {\n\t\tkey_id %s\n\t\tmac_key %s\n\t}\n", s.external.id, s.external.hmac)
			}
			config := fmt.Sprintf("{\n\tadmin off\n\thttp_port %d\n\thttps_port %d\n\temail admin@corp.test\n\tacme_ca %s\n\tacme_ca_root %s\n%s}\n%s {\n\ttls {\n\t\tissuer acme {\n\t\t\tdisable_tlsalpn_challenge\n\t\t}\n\t}\n\trespond \"hello\"\n}\n",
				s.port, https, s.directory(), acmeca.CAFile(), external, s.name)
			if err := s.write("Caddyfile", config); err != nil {
				return nil, err
			}
			err = s.whileRunning(ctx, []string{"HOME=" + s.dir, "XDG_DATA_HOME=" + s.path("data"), "XDG_CONFIG_HOME=" + s.path("config")},
				"caddy", []string{"run", "--config", s.path("Caddyfile"), "--adapter", "caddyfile"},
				func(ctx context.Context) error {
					chain, err = s.served(ctx, https)
					return err
				})
			return chain, err
		}
		return commands{
			obtainFunc: obtain,
			renewFunc: func(ctx context.Context) ([]byte, error) {
				if err := os.RemoveAll(s.path("data", "caddy", "certificates")); err != nil {
					return nil, err
				}
				return obtain(ctx)
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "its certificate is removed, the account stays"}, patience: yes, reuse: yes, binding: yes,
		revoking:   {notRun, "it has no command for it"},
		overloaded: {verdict: waits},
	},
}

const apacheModules = "/usr/lib/apache2/modules/"

var modMD = &acmeClient{
	name: "mod_md", needs: []string{"apache2", "apache2"}, version: packageVersion("apache2"),
	open: func(s *site) session {
		obtain := func(ctx context.Context, more string) (chain []byte, err error) {
			var https int
			if err := freeport.Choose(&https); err != nil {
				return nil, err
			}
			config := ""
			for _, module := range []string{"md", "ssl", "socache_shmcb", "authz_core", "mpm_event"} {
				config += fmt.Sprintf("LoadModule %s_module %smod_%s.so\n", module, apacheModules, module)
			}
			if s.external != nil {
				more += fmt.Sprintf("MDExternalAccountBinding %s %s\n", s.external.id, s.external.hmac)
			}
			config += fmt.Sprintf("ServerRoot %[1]s\nServerName %[2]s\nPidFile %[1]s/apache.pid\nErrorLog /dev/stderr\nLogLevel info\nListen %[3]s\nListen %[4]s\nMDPortMap http:%[5]d https:%[6]d\nMDStoreDir %[1]s/md\n"+
				"MDCertificateAuthority %[7]s\nMDCACertificateFile %[8]s\nMDCertificateAgreement accepted\nMDContactEmail admin@corp.test\nMDCAChallenges http-01\nMDRetryDelay 1s\nMDomain %[2]s\n%[9]s<VirtualHost %[3]s>\nServerName %[2]s\n</VirtualHost>\n<VirtualHost %[4]s>\nServerName %[2]s\nSSLEngine on\n</VirtualHost>\n",
				s.dir, s.name, loopback(s.port), loopback(https), s.port, https, s.directory(), acmeca.CAFile(), more)
			if err := s.write("apache.conf", config); err != nil {
				return nil, err
			}
			staged := func(context.Context) error {
				found, _ := filepath.Glob(s.path("md", "staging", s.name, "pubcert*.pem"))
				if len(found) == 0 {
					return errors.New("nothing is staged")
				}
				return nil
			}
			if err := s.whileRunning(ctx, nil, "apache2", []string{"-DFOREGROUND", "-f", s.path("apache.conf")}, staged); err != nil {
				return nil, err
			}
			_ = os.Remove(s.path("apache.pid")) // of the server that was killed
			err = s.whileRunning(ctx, nil, "apache2", []string{"-DFOREGROUND", "-f", s.path("apache.conf")}, func(ctx context.Context) error {
				chain, err = s.served(ctx, https)
				return err
			})
			_ = os.Remove(s.path("apache.pid"))
			return chain, err
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return obtain(ctx, "") },
			renewFunc:  func(ctx context.Context) ([]byte, error) { return obtain(ctx, "MDRenewWindow 3650d\n") },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, patience: yes, reuse: yes, binding: yes,
		revoking:   {notRun, "it cannot revoke"},
		overloaded: {verdict: waits},
	},
}
