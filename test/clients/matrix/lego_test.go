package matrix

import (
	"context"
	"strconv"
)

var lego = &acmeClient{
	name: "lego", needs: []string{"lego", "lego"}, version: packageVersion("lego"),
	open: func(s *site) session {
		lego := func(ctx context.Context, command ...string) error {
			args := []string{"--path", s.dir, "--server", s.directory(), "--email", "admin@corp.test", "--accept-tos", "--http", "--http.port", ":" + strconv.Itoa(s.port), "--domains", s.name}
			if s.external != nil {
				args = append(args, "--eab", "--kid", s.external.id, "--hmac", s.external.hmac)
			}
			_, err := s.run(ctx, []string{"LEGO_CA_CERTIFICATES=" + acmeca.CAFile()}, "lego", append(args, command...)...)
			return err
		}
		chain := s.path("certificates", s.name+".crt")
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return thenRead(chain, lego(ctx, "run")) },
			renewFunc: func(ctx context.Context) ([]byte, error) {
				return thenRead(chain, lego(ctx, "renew", "--days", "3650", "--no-random-sleep"))
			},
			revokeFunc: func(ctx context.Context) error { return lego(ctx, "revoke", "--keep") },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
}
