package matrix

import (
	"context"
	"path/filepath"
)

// rubyClient is a library. The loops of testdata/acme.rb are those of its own documentation.
var rubyClient = &acmeClient{
	name: "ruby acme-client", needs: []string{"ruby", "ruby-acme-client"}, version: packageVersion("ruby-acme-client"),
	check: []string{"ruby", "-e", "require 'acme-client'", "ruby-acme-client"},
	open: func(s *site) session {
		ruby := func(ctx context.Context, args ...string) error {
			script, err := filepath.Abs("testdata/acme.rb")
			if err != nil {
				return err
			}
			_, err = s.run(ctx, []string{"STATE=" + s.dir, "DIRECTORY=" + s.directory(), "CA_FILE=" + acmeca.CAFile(), "NAME=" + s.name, "WEBROOT=" + s.webroot},
				"ruby", append([]string{script}, args...)...)
			return err
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return thenRead(s.path("chain.pem"), ruby(ctx)) },
			revokeFunc: func(ctx context.Context) error { return ruby(ctx, "revoke") },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes,
		binding:    {fails, "2.0.9 knows no external accounts"},
		granted:    byAccount,
		overloaded: {verdict: endsAt},
	},
	since: "2.0.16: takes a Replay-Nonce on the directory",
	quirk: "before 2.0.16 a Replay-Nonce on the directory ends it",
}
