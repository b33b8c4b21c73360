package matrix

import (
	"context"
	"strconv"
)

var certbot = &acmeClient{
	name: "certbot", needs: []string{"certbot", "certbot"}, version: packageVersion("certbot"),
	open: func(s *site) session {
		certbot := func(ctx context.Context, command string, args ...string) error {
			args = append([]string{command, "--non-interactive", "--server", s.directory(), "--config-dir", s.dir, "--work-dir", s.dir, "--logs-dir", s.path("logs")}, args...)
			_, err := s.run(ctx, []string{"REQUESTS_CA_BUNDLE=" + acmeca.CAFile()}, "certbot", args...)
			return err
		}
		chain := s.path("live", s.name, "fullchain.pem")
		obtain := func(ctx context.Context, more ...string) ([]byte, error) {
			args := append([]string{"--standalone", "--http-01-port", strconv.Itoa(s.port), "--agree-tos", "--email", "admin@corp.test", "--no-eff-email", "-d", s.name}, more...)
			if s.external != nil {
				args = append(args, "--eab-kid", s.external.id, "--eab-hmac-key", s.external.hmac)
			}
			return thenRead(chain, certbot(ctx, "certonly", args...))
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return obtain(ctx) },
			renewFunc:  func(ctx context.Context) ([]byte, error) { return obtain(ctx, "--force-renewal") },
			revokeFunc: func(ctx context.Context) error {
				return certbot(ctx, "revoke", "--cert-name", s.name, "--no-delete-after-revoke")
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
}
