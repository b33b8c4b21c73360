//go:build tools

// Package opm pins opm, which renders catalogs with acmeca's bundle in tests.
package opm

import (
	_ "github.com/operator-framework/operator-registry/cmd/opm"
)
