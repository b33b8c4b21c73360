//go:build tools

// Package helm3 pins Helm 3, whose releases the chart supports beside those of Helm 4.
package helm3

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
