package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/acmeca/acmeca/internal/test/project"
)

// StartForTest starts an acmeca for a test suite: this tree's operator with additional arguments, free ports and an
// empty state in a temporary directory. The returned function stops acmeca and removes the directory.
func StartForTest(ctx context.Context, operatorArgs ...string) (*Local, func(), error) {
	return startInTemporary(ctx, Options{OperatorArgs: operatorArgs})
}

// StartForTestWithReplicas is StartForTest without the ACME server; StartReplica starts its replicas. The operator's
// URLs still name Ports().HTTPS, where the test must listen and balance between replicas. The controllers get the
// additional arguments.
func StartForTestWithReplicas(ctx context.Context, controllerArgs ...string) (*Local, func(), error) {
	return startInTemporary(ctx, Options{Replicas: true, OperatorArgs: controllerArgs})
}

// StartForTestContained is StartForTestWithReplicas with the memory limits of the manifests.
func StartForTestContained(ctx context.Context, controllerArgs ...string) (*Local, func(), error) {
	return startInTemporary(ctx, Options{Replicas: true, Contained: true, OperatorArgs: controllerArgs})
}

// StartForTestWithKubelets is StartForTestContained with controllers that issue certificates to Pods, and an API server that treats
// kubelets as such.
func StartForTestWithKubelets(ctx context.Context, controllerArgs ...string) (*Local, func(), error) {
	return startInTemporary(ctx, Options{
		Replicas: true, Contained: true, OperatorArgs: append([]string{"--pod-certificates"}, controllerArgs...),
		APIServerArgs: []string{"--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction"},
	})
}

// StartForTestWithTags is StartForTestWithReplicas with an operator that is built with a build tag.
func StartForTestWithTags(ctx context.Context, tags string, controllerArgs ...string) (*Local, func(), error) {
	return startInTemporary(ctx, Options{Replicas: true, OperatorArgs: controllerArgs}, "-tags", tags)
}

// Built is an operator that is built already, and the source tree with its manifests.
type Built struct{ Operator, Tree string }

// Start is StartForTestWithReplicas with the built operator.
func (b Built) Start(ctx context.Context, controllerArgs ...string) (*Local, func(), error) {
	return startInTemporary(ctx, Options{Replicas: true, OperatorArgs: controllerArgs, Operator: b.Operator, Tree: b.Tree})
}

func startInTemporary(ctx context.Context, options Options, buildArgs ...string) (*Local, func(), error) {
	dir, err := os.MkdirTemp("", "acmeca-test-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) } // errors are ignored
	l, err := startForTest(ctx, dir, options, buildArgs)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return l, func() { l.Stop(); remove() }, nil
}

func startForTest(ctx context.Context, dir string, options Options, buildArgs []string) (*Local, error) {
	ports, err := FreePorts()
	if options.Operator == "" {
		options.Operator = filepath.Join(dir, "acmeca")
		err = errors.Join(err, BuildOperator(ctx, options.Operator, buildArgs...))
	}
	if err != nil {
		return nil, err
	}
	options.Dir, options.Ports, options.UnsafeNoFsync = dir, ports, true
	return Start(ctx, options)
}

// BuildOperator builds the operator into a file of the suite, because suites run in parallel. The arguments are go
// build's.
func BuildOperator(ctx context.Context, path string, args ...string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", path}, args, []string{"./cmd/acmeca"})...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	return nil
}
