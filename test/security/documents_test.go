// Package security holds the documents on security to the tests that they name. The tests themselves are where what they
// attack is: in test/trust as the ServiceAccounts and tenants, in test/conformance as clients, and beside the code.
package security

import (
	"testing"

	"github.com/acmeca/acmeca/test/internal/claims"
)

func TestRegressions(t *testing.T) { claims.Check(t, "docs/security/regressions.md", 40, nil) }

func TestThreatModel(t *testing.T) { claims.Check(t, "docs/security/threat-model.md", 30, nil) }
