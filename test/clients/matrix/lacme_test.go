package matrix

import (
	"context"
	"fmt"
	"os"
)

// lacme trusts the system's CAs alone, and has no option for others.
var lacme = &acmeClient{
	name: "lacme", needs: []string{"lacme", "lacme", "lacme-accountd", "lacme-accountd", "openssl", "openssl", "unshare", "util-linux"}, version: packageVersion("lacme"),
	check: []string{"perl", "-MCrypt::OpenSSL::RSA", "-e", "1", "libcrypt-openssl-rsa-perl"},
	open: func(s *site) session {
		lacme := func(ctx context.Context, args ...string) error {
			if err := s.makeKey(ctx, "account.key"); err != nil {
				return err
			}
			if err := s.makeKey(ctx, "site.key"); err != nil {
				return err
			}
			files := map[string]string{
				"accountd.conf": fmt.Sprintf("privkey = file:%s\n", s.path("account.key")),
				"certs.conf":    fmt.Sprintf("[site]\ncertificate-key = %s\ncertificate-chain = %s\nsubject = /CN=%s\nsubjectAltName = DNS:%s\nCAfile = %s\n", s.path("site.key"), s.path("chain.pem"), s.name, s.name, s.path("roots.pem")),
				"lacme.conf": fmt.Sprintf("config-certs = %s\n[client]\nuser =\ngroup =\nserver = %s\n[webserver]\nlisten =\nchallenge-directory = %s\n[accountd]\nconfig = %s\n",
					s.path("certs.conf"), s.directory(), s.webroot, s.path("accountd.conf")),
			}
			for name, text := range files {
				if err := s.write(name, text); err != nil {
					return err
				}
			}
			issuer, err := getIssuer(ctx, s.issuer)
			if err != nil {
				return err
			}
			if err := os.WriteFile(s.path("roots.pem"), []byte(issuer.Status.CABundle), 0o644); err != nil {
				return err
			}
			_, err = s.runTrusting(ctx, nil, "lacme", append([]string{"--config=" + s.path("lacme.conf")}, args...)...)
			return err
		}
		order := func(ctx context.Context, more ...string) ([]byte, error) {
			if err := lacme(ctx, "account", "--register", "--tos-agreed", "mailto:admin@corp.test"); err != nil {
				return nil, err
			}
			return thenRead(s.path("chain.pem"), lacme(ctx, append([]string{"newOrder"}, more...)...))
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return order(ctx) },
			renewFunc:  func(ctx context.Context) ([]byte, error) { return order(ctx, "--force") },
			revokeFunc: func(ctx context.Context) error { return lacme(ctx, "revokeCert", s.path("chain.pem")) },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes,
		binding:    {fails, "it knows no external accounts"},
		granted:    byAccount,
		overloaded: {verdict: endsAt},
	},
	quirk: "trusts the system's CAs alone",
}
