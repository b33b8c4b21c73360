package matrix

import (
	"context"

	"github.com/acmeca/acmeca/internal/test/binaries"
)

const newAccountEachTime = "each run registers an account of its own"

// stepCLI is the program step, which is built from its Go module.
var stepCLI = &acmeClient{
	name: "step CLI", version: nestedVersion("../../../hack/step", "github.com/smallstep/cli"),
	built: []string{"step"},
	open: func(s *site) session {
		return commands{
			obtainFunc: func(ctx context.Context) ([]byte, error) {
				program, err := binaries.Path("step")
				if err != nil {
					return nil, err
				}
				_, err = s.run(ctx, []string{"STEPPATH=" + s.dir}, program, "ca", "certificate", s.name, s.path("chain.pem"), s.path("key.pem"),
					"--acme", s.directory(), "--root", acmeca.CAFile(), "--standalone", "--http-listen", loopback(s.port),
					"--contact", "mailto:admin@corp.test", "--force")
				return thenRead(s.path("chain.pem"), err)
			},
		}
	},
	expect: map[scenarioID]outcome{
		obtaining: yes, renewing: {fails, newAccountEachTime}, patience: yes, reuse: {fails, newAccountEachTime},
		revoking:   {notRun, "it revokes by step-ca's own requests alone"},
		binding:    {fails, "it knows no external accounts"},
		granted:    {fails, "each run registers an account of its own"},
		overloaded: {verdict: endsAt},
	},
	quirk: "writes its contact as it stands, so a person writes mailto: before the address; sends notBefore and notAfter of year 1; reads a challenge 10 times, every 5 s",
}
