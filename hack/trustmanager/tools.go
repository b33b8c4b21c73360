//go:build tools

// Package trustmanager pins trust-manager, which distributes acmeca's roots in tests.
package trustmanager

import (
	_ "github.com/cert-manager/trust-manager/cmd/trust-manager"
)
