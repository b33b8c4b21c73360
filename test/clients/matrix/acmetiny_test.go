package matrix

import (
	"context"
	"errors"
	"os"
)

var acmeTiny = &acmeClient{
	name: "acme-tiny", needs: []string{"acme-tiny", "acme-tiny", "openssl", "openssl"}, version: packageVersion("acme-tiny"),
	open: func(s *site) session {
		return commands{obtainFunc: func(ctx context.Context) ([]byte, error) {
			if err := errors.Join(s.makeKey(ctx, "account.key"), s.makeCSR(ctx, "site.key", "site.csr", "PEM")); err != nil {
				return nil, err
			}
			chain, err := s.run(ctx, []string{"SSL_CERT_FILE=" + acmeca.CAFile()}, "acme-tiny", "--directory-url", s.directory(), "--disable-check",
				"--account-key", s.path("account.key"), "--csr", s.path("site.csr"), "--acme-dir", s.webroot, "--contact", "mailto:admin@corp.test")
			if err != nil {
				return nil, err
			}
			return chain, os.WriteFile(s.path("chain.pem"), chain, 0o600)
		}}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, patience: yes, reuse: yes,
		revoking:   {notRun, "it cannot revoke"},
		binding:    {fails, "it knows no external accounts"},
		granted:    byAccount,
		overloaded: {verdict: endsAt},
	},
}
