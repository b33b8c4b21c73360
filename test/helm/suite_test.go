// Package helm installs the chart with Helm 3 and Helm 4 on a real API server. No Pods run.
package helm

import (
	"testing"

	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestHelm(t *testing.T) { suite.Run(t, "Helm") }
