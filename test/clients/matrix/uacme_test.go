package matrix

import (
	"context"
)

// uacme trusts the system's CAs alone, and has no option for others. Its hook writes the token to the webroot.
var uacme = &acmeClient{
	name: "uacme", needs: []string{"uacme", "uacme", "unshare", "util-linux"}, version: packageVersion("uacme"),
	open: func(s *site) session {
		uacme := func(ctx context.Context, args ...string) error {
			args = append([]string{"--yes", "--acme-url", s.directory(), "--confdir", s.dir, "--no-ocsp", "--hook", "/usr/share/uacme/uacme.sh"}, args...)
			_, err := s.runTrusting(ctx, []string{"UACME_CHALLENGE_PATH=" + s.webroot}, "uacme", args...)
			return err
		}
		chain := s.path(s.name, "cert.pem")
		registered := false
		register := func(ctx context.Context) error {
			if registered {
				return nil
			}
			args := []string{"new", "admin@corp.test"}
			if s.external != nil {
				args = append([]string{"--eab", s.external.id + ":" + s.external.hmac}, args...)
			}
			err := uacme(ctx, args...)
			registered = err == nil
			return err
		}
		issue := func(ctx context.Context, args ...string) ([]byte, error) {
			if err := register(ctx); err != nil {
				return nil, err
			}
			return thenRead(chain, uacme(ctx, append(args, "issue", s.name)...))
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return issue(ctx) },
			renewFunc:  func(ctx context.Context) ([]byte, error) { return issue(ctx, "--force") },
			revokeFunc: func(ctx context.Context) error { return uacme(ctx, "revoke", chain) },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
	quirk: "trusts the system's CAs alone; 1.7.4 ends at a challenge without a token that comes before the one that its hook takes",
}
