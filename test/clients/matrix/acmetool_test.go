package matrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

var acmetool = &acmeClient{
	name: "acmetool", needs: []string{"acmetool", "acmetool"}, version: packageVersion("acmetool"),
	open: func(s *site) session {
		state := s.path("state")
		acmetool := func(ctx context.Context, args ...string) error {
			target := fmt.Sprintf("request:\n  provider: %s\n  challenge:\n    webroot-paths: [%s]\n    http-self-test: false\n", s.directory(), s.webroot)
			if err := errors.Join(os.MkdirAll(filepath.Join(state, "conf"), 0o755), os.MkdirAll(s.path("hooks"), 0o755),
				os.WriteFile(filepath.Join(state, "conf", "target"), []byte(target), 0o600),
				os.WriteFile(filepath.Join(state, "conf", "responses"), []byte("acme-enter-email: admin@corp.test\nacme-agreement: true\n"), 0o600)); err != nil {
				return err
			}
			args = append([]string{"--batch", "--state=" + state, "--hooks=" + s.path("hooks"), "--xlog.stderr", "--xlog.severity=debug"}, args...)
			_, err := s.run(ctx, []string{"SSL_CERT_FILE=" + acmeca.CAFile()}, "acmetool", args...)
			return err
		}
		live := func(file string) string { return filepath.Join(state, "live", s.name, file) }
		want := func(ctx context.Context) ([]byte, error) {
			return thenRead(live("fullchain"), acmetool(ctx, "want", s.name))
		}
		return commands{
			obtainFunc: want,
			renewFunc: func(ctx context.Context) ([]byte, error) {
				// It renews by time alone, so its certificates are removed and its account stays.
				if err := errors.Join(os.RemoveAll(filepath.Join(state, "certs")), os.RemoveAll(filepath.Join(state, "live"))); err != nil {
					return nil, err
				}
				return want(ctx)
			},
			revokeFunc: func(ctx context.Context) error {
				link, err := filepath.EvalSymlinks(filepath.Join(state, "live", s.name))
				if err != nil {
					return err
				}
				return acmetool(ctx, "revoke", filepath.Base(link))
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "its certificates are removed, the account stays"}, patience: yes, reuse: yes,
		revoking:   {fails, "the command exits 0 and sends no request"},
		binding:    {fails, "it knows no external accounts"},
		granted:    byAccount,
		overloaded: {verdict: endsAt},
	},
}
