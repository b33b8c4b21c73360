//go:build tools

// Package helm pins a program of the nodes of `make cluster`.
package helm

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
