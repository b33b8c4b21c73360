package matrix

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/acmeca/acmeca/test/internal/programs"
)

const nodeClientVersion = "5.4.0"

// nodeClient is a library of npm's, installed once into the user's cache.
var nodeClient = &acmeClient{
	name: "node acme-client", needs: []string{"node", "nodejs", "npm", "npm"},
	version: func(context.Context) (string, error) { return nodeClientVersion, nil },
	prepare: func(ctx context.Context) error {
		dir, err := nodeModules()
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "installed")); err == nil {
			return nil
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		npm := exec.CommandContext(ctx, programs.Path("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, "acme-client@"+nodeClientVersion)
		if output, err := npm.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return os.WriteFile(filepath.Join(dir, "installed"), nil, 0o644)
	},
	open: func(s *site) session {
		node := func(ctx context.Context, args ...string) error {
			script, err := filepath.Abs("testdata/acme.js")
			if err != nil {
				return err
			}
			dir, err := nodeModules()
			if err != nil {
				return err
			}
			environment := []string{"STATE=" + s.dir, "DIRECTORY=" + s.directory(), "NAME=" + s.name, "WEBROOT=" + s.webroot,
				"NODE_EXTRA_CA_CERTS=" + acmeca.CAFile(), "NODE_PATH=" + filepath.Join(dir, "node_modules")}
			if s.external != nil {
				environment = append(environment, "EAB_KID="+s.external.id, "EAB_HMAC_KEY="+s.external.hmac)
			}
			_, err = s.run(ctx, environment, "node", append([]string{script}, args...)...)
			return err
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return thenRead(s.path("chain.pem"), node(ctx)) },
			revokeFunc: func(ctx context.Context) error { return node(ctx, "revoke") },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: yes, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: waits},
	},
}

// nodeModules returns the directory that the library is installed in.
func nodeModules() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "acmeca-test", "node-acme-client-"+nodeClientVersion), err
}
