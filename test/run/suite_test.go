// Package run tests acmeca's recovery from crashes, and the program behind `make run`.
package run

import (
	"testing"

	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestRun(t *testing.T) { suite.Run(t, "Run") }
