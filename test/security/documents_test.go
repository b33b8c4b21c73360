// Package security checks that the tests named by the security documents exist. The tests are in the package that
// they attack: test/trust for ServiceAccounts and tenants, test/conformance for clients, and beside the code.
package security

import (
	"testing"

	"github.com/acmeca/acmeca/test/internal/claims"
)

func TestRegressions(t *testing.T) { claims.Check(t, "docs/security/regressions.md", 40, nil) }

func TestThreatModel(t *testing.T) { claims.Check(t, "docs/security/threat-model.md", 30, nil) }
