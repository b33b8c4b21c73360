//go:build tools

// Package kuberouter pins a program of the nodes of `make cluster`.
package kuberouter

import (
	_ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
)
