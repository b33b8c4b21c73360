package matrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

const apacheModules = "/usr/lib/apache2/modules/"

var modMD = &acmeClient{
	name: "mod_md", needs: []string{"apache2", "apache2"},
	version: func(ctx context.Context) (string, error) {
		version, err := packageVersion("apache2")(ctx)
		return "of Apache " + version, err
	},
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
		obtaining: yes, renewing: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		revoking:   {notRun, "it cannot revoke"},
		overloaded: {verdict: waits},
	},
}
