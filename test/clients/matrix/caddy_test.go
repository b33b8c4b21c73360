package matrix

import (
	"context"
	"fmt"
	"os"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

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
		obtaining: yes, renewing: {works, "its certificate is removed, the account stays"}, patience: yes, reuse: yes, binding: yes, granted: yes,
		revoking:   {notRun, "it has no command for it"},
		overloaded: {verdict: waits},
	},
}
