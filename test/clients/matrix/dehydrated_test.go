package matrix

import (
	"context"
	"fmt"
)

var dehydrated = &acmeClient{
	name: "dehydrated", needs: []string{"dehydrated", "dehydrated", "curl", "curl", "openssl", "openssl"}, version: packageVersion("dehydrated"),
	open: func(s *site) session {
		dehydrated := func(ctx context.Context, args ...string) error {
			config := fmt.Sprintf("CA=%q\nBASEDIR=%q\nWELLKNOWN=%q\nCURL_OPTS='--cacert %s'\nCONTACT_EMAIL=admin@corp.test\nKEYSIZE=2048\nKEY_ALGO=prime256v1\n", s.directory(), s.dir, s.webroot, acmeca.CAFile())
			if s.external != nil {
				config += fmt.Sprintf("EAB_KID=%q\nEAB_HMAC_KEY=%q\n", s.external.id, s.external.hmac)
			}
			if err := s.write("config", config); err != nil {
				return err
			}
			_, err := s.run(ctx, nil, "dehydrated", append([]string{"--config", s.path("config")}, args...)...)
			return err
		}
		chain := s.path("certs", s.name, "fullchain.pem")
		obtain := func(ctx context.Context, more ...string) ([]byte, error) {
			if err := dehydrated(ctx, "--register", "--accept-terms"); err != nil {
				return nil, err
			}
			return thenRead(chain, dehydrated(ctx, append([]string{"--cron", "--domain", s.name}, more...)...))
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return obtain(ctx) },
			renewFunc:  func(ctx context.Context) ([]byte, error) { return obtain(ctx, "--force") },
			revokeFunc: func(ctx context.Context) error {
				return dehydrated(ctx, "--revoke", s.path("certs", s.name, "cert.pem"))
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
	quirk: "0.7.0 fails with an external account key whose length is not a multiple of 16 bytes",
}
