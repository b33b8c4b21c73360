package validation

import (
	"os/exec"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"

	"github.com/acmeca/acmeca/test/internal/programs"
)

// These are short names for frequent calls.
var (
	needPrograms = programs.Need
	lacking      = programs.Lack
	pathOf       = programs.Path
	run          = programs.Run
	freePort     = programs.FreePort
)

func freePortText() string { return strconv.Itoa(freePort()) }

func startServer(up func() error, path string, args ...string) {
	GinkgoHelper()
	programs.Start(up, nil, path, args...)
}

// needCertbotRFC2136 requires certbot's plugin, which is not a program.
func needCertbotRFC2136() {
	BeforeEach(func(ctx SpecContext) {
		if output, err := exec.CommandContext(ctx, "certbot", "plugins").CombinedOutput(); err != nil || !strings.Contains(string(output), "dns-rfc2136") {
			lacking("certbot's dns-rfc2136 isn't installed: apt-get install python3-certbot-dns-rfc2136")
		}
	})
}
