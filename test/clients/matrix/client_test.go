package matrix

import (
	"context"
	"os/exec"
	"regexp"
	"strings"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// acmeClient is a client under test: a row of the matrix.
type acmeClient struct {
	name string
	// needs are pairs of a program and its Debian package. A library in Go needs none.
	needs []string
	// built are programs that hack/build builds.
	built []string
	// check is a command that fails where a library is not installed, followed by the Debian package. It may be nil.
	check []string
	// prepare installs or builds the client before the first scenario. It may be nil.
	prepare func(context.Context) error
	version func(context.Context) (string, error)
	// ari is set for a client whose renewal names the certificate that it replaces (RFC 9773).
	ari bool
	// open starts from an empty state.
	open   func(*site) session
	expect map[scenarioID]outcome
	// since names the first versions of what works, where a source names them.
	since string
	quirk string
}

// A session is a client with its state: an account, and certificates for one name.
type session interface {
	// obtain registers if there is no account, and returns the certificate's chain in PEM.
	obtain(context.Context) ([]byte, error)
	// renew returns the chain of another certificate for the same name.
	renew(context.Context) ([]byte, error)
	// revoke revokes the newest certificate.
	revoke(context.Context) error
}

// missing says which program is not installed, or returns "".
func (c *acmeClient) missing() string {
	for i := 0; i < len(c.needs); i += 2 {
		if programs.Path(c.needs[i]) == "" {
			return c.needs[i] + " isn't installed: apt-get install " + c.needs[i+1]
		}
	}
	for _, program := range c.built {
		if _, err := binaries.Path(program); err != nil {
			return err.Error()
		}
	}
	if last := len(c.check) - 1; last > 0 && exec.Command(c.check[0], c.check[1:last]...).Run() != nil {
		return c.name + " needs a library: apt-get install " + c.check[last]
	}
	return ""
}

type scenarioID string

const (
	obtaining  scenarioID = "obtain"
	renewing   scenarioID = "renew"
	revoking   scenarioID = "revoke"
	patience   scenarioID = "patience"
	reuse      scenarioID = "reuse"
	binding    scenarioID = "binding"
	granted    scenarioID = "granted"
	overloaded scenarioID = "503"
)

// scenarios are the columns of the matrix, in its order.
var scenarios = []struct {
	id            scenarioID
	title, column string
}{
	{obtaining, "obtains a certificate from an empty state", "obtains"},
	{renewing, "renews the certificate", "renews"},
	{revoking, "revokes the certificate", "revokes"},
	{patience, "waits for a challenge whose first attempt fails and which succeeds 6 s later", "first attempt fails"},
	{reuse, "uses an authorization that is valid from the start", "authorization valid from the start"},
	{binding, "registers with an external account key", "external account"},
	{granted, "obtains and renews a certificate for a granted name, without a challenge", "granted name"},
	{overloaded, "meets 503, and obtains a certificate afterwards", "503"},
}

type verdict string

const (
	works  verdict = "yes"
	waits  verdict = "waits"    // for 503: the same run obtains the certificate
	endsAt verdict = "next run" // for 503: the run fails, and the next one obtains the certificate
	fails  verdict = "no"
	notRun verdict = "not run"
)

// outcome of a scenario. The note explains the verdict.
type outcome struct {
	verdict verdict
	note    string
}

var yes = outcome{verdict: works}

// byAccount is the outcome of a client that works with a grant to its account, without an external account key.
var byAccount = outcome{works, "granted to its account"}

// packageVersion returns the version of an installed Debian package, without its Debian revision.
func packageVersion(debianPackage string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		output, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", debianPackage).Output()
		version := debianRevision.ReplaceAllString(string(output), "")
		if _, after, hasEpoch := strings.Cut(version, ":"); hasEpoch {
			version = after
		}
		return version, err
	}
}

// nestedVersion returns the version of a module that the nested module in a directory requires.
func nestedVersion(dir, module string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		output, err := exec.CommandContext(ctx, "go", "-C", dir, "list", "-m", "-f", "{{.Version}}", module).Output()
		return strings.TrimPrefix(strings.TrimSpace(string(output)), "v"), err
	}
}

var debianRevision = regexp.MustCompile(`-[^-]*$`)
