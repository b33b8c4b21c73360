package matrix

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/certmagic"
	acmezacme "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// certmagicClient is the library of Caddy 2.11.
var certmagicClient = &acmeClient{
	name: "certmagic", version: moduleVersion("github.com/caddyserver/certmagic"), ari: true,
	open: func(s *site) session {
		// One configuration for the whole session: another one would revoke with another account.
		magic := sync.OnceValue(func() *certmagic.Config {
			var external *acmezacme.EAB
			if s.external != nil {
				external = &acmezacme.EAB{KeyID: s.external.id, MACKey: s.external.hmac}
			}
			var config *certmagic.Config
			cache := certmagic.NewCache(certmagic.CacheOptions{
				GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil }, Logger: zap.NewNop(),
			})
			config = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: s.path("certmagic")}, Logger: zap.NewNop()})
			config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
				CA: s.directory(), TrustedRoots: acmecaRoots(), Email: "admin@corp.test", Agreed: true, Logger: zap.NewNop(),
				ListenHost: "127.0.0.1", AltHTTPPort: s.port, DisableTLSALPNChallenge: true, ExternalAccount: external,
			})}
			return config
		})
		stored := func(err error) ([]byte, error) {
			found, _ := filepath.Glob(s.path("certmagic", "certificates", "*", s.name, s.name+".crt"))
			if err != nil || len(found) != 1 {
				return nil, fmt.Errorf("%v: %w", found, err)
			}
			return os.ReadFile(found[0])
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) {
				return stored(magic().ObtainCertSync(ctx, s.name))
			},
			renewFunc: func(ctx context.Context) ([]byte, error) {
				return stored(magic().RenewCertSync(ctx, s.name, true))
			},
			revokeFunc: func(ctx context.Context) error {
				return magic().RevokeCert(ctx, s.name, 4, false)
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "with ARI"}, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
	quirk: "a Config that has not obtained anything itself revokes with an account of its own, without contact",
}
