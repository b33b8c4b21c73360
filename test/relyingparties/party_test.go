package relyingparties

import (
	"context"

	"github.com/acmeca/acmeca/test/internal/programs"
)

// party is a program that verifies certificates: a row of the matrix.
type party struct {
	name string
	// needs are pairs of a program and its Debian package. files are pairs of a file and its package.
	needs, files []string
	// versionOf is the Debian package whose version counts.
	versionOf string
	// open starts the program with the files of the first phase.
	open func(context.Context, *site) verifier
	// checks says how much of a chain the program checks, refresh how it takes a new file, and note what it can't do.
	checks, refresh, note string
	// without is the verdict on a certificate of a CA whose CRL the file lacks.
	without verdict
	// live is set for a program that fetches CRLs, and so sees those of the last phase in each phase.
	live bool
}

// verifier is a program that runs.
type verifier interface {
	// verify reports whether the program accepts a certificate, and what it says.
	verify(ctx context.Context, name string) (accepted bool, output string)
	// reload makes the program read the CRLs again.
	reload(context.Context)
}

type verdict bool

const (
	refuses verdict = false
	accepts verdict = true
)

func (v verdict) String() string {
	if v == accepts {
		return "accepts"
	}
	return "refuses"
}

// parties are the rows of the matrix, in its order.
var parties = []*party{
	openssl, nginx, haproxy, postgresql, apacheChain, apacheLeaf, mosquitto, stunnel, gnutlsServ,
	certtool, curl, wget, java, javaByPoint, wolfSSL, mbedTLS, nss,
}

// missing says which program is not installed, or returns "".
func (p *party) missing() string {
	for i := 0; i < len(p.needs); i += 2 {
		if programs.Path(p.needs[i]) == "" {
			return p.needs[i] + " isn't installed: apt-get install " + p.needs[i+1]
		}
	}
	for i := 0; i < len(p.files); i += 2 {
		if find(p.files[i]) == "" {
			return p.files[i] + " is missing: apt-get install " + p.files[i+1]
		}
	}
	return ""
}
