package matrix

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// lego5 is the library that Traefik 3.7 has built in. The program with it is a module of its own, built by the suite.
var lego5 = &acmeClient{
	name: "lego 5, as a library", ari: true,
	version: nestedVersion("../lego5", "github.com/go-acme/lego/v5"),
	prepare: func(ctx context.Context) error {
		program, err := lego5Program()
		if err != nil {
			return err
		}
		if output, err := exec.CommandContext(ctx, "go", "-C", "../lego5", "build", "-o", program, ".").CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	},
	open: func(s *site) session {
		lego := func(ctx context.Context, command string) error {
			program, err := lego5Program()
			if err != nil {
				return err
			}
			environment := []string{"STATE=" + s.dir, "DIRECTORY=" + s.directory(), "NAME=" + s.name, "PORT=" + strconv.Itoa(s.port), "LEGO_CA_CERTIFICATES=" + acmeca.CAFile()}
			if s.external != nil {
				environment = append(environment, "EAB_KID="+s.external.id, "EAB_HMAC_KEY="+s.external.hmac)
			}
			_, err = s.run(ctx, environment, program, command)
			return err
		}
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) { return thenRead(s.path("chain.pem"), lego(ctx, "obtain")) },
			renewFunc:  func(ctx context.Context) ([]byte, error) { return thenRead(s.path("chain.pem"), lego(ctx, "renew")) },
			revokeFunc: func(ctx context.Context) error { return lego(ctx, "revoke") },
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {works, "with ARI"}, revoking: yes, patience: yes, reuse: yes, binding: yes, granted: yes,
		overloaded: {verdict: endsAt},
	},
	quirk: "30 s for response headers, and for the certificate",
}

// lego5Program returns the path that the program is built at.
func lego5Program() (string, error) {
	cache, err := os.UserCacheDir()
	if err == nil {
		err = os.MkdirAll(filepath.Join(cache, "acmeca-test"), 0o755)
	}
	return filepath.Join(cache, "acmeca-test", "lego5"), err
}
