// Package scheduling places acmeca's Pods on nodes with a real kube-scheduler. The nodes are objects, and run nothing.
package scheduling

import (
	"testing"

	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestScheduling(t *testing.T) { suite.Run(t, "Scheduling") }
