package controlplane

import (
	"context"
	"os"
	"path/filepath"

	"github.com/acmeca/acmeca/internal/test/project"
)

// StartForTest starts a control plane for a test suite, with free ports, an empty state in a temporary directory, and
// the operator's CustomResourceDefinitions, and additional arguments of kube-apiserver. The start takes about 5 s. Stop removes
// everything.
//
//	var plane *controlplane.Plane
//	var _ = BeforeSuite(func(ctx SpecContext) {
//		var err error
//		plane, err = controlplane.StartForTest(ctx)
//		Expect(err).NotTo(HaveOccurred())
//		DeferCleanup(plane.Stop)
//	})
func StartForTest(ctx context.Context, apiserverArgs ...string) (*Plane, error) {
	dir, err := os.MkdirTemp("", "acmeca-test-")
	if err != nil {
		return nil, err
	}
	plane, err := Start(ctx, Options{Dir: dir, UnsafeNoFsync: true, APIServerArgs: apiserverArgs})
	if err != nil {
		_ = os.RemoveAll(dir) // err matters more
		return nil, err
	}
	plane.remove = dir
	if err := plane.ApplyProject(ctx, filepath.Join("config", "crd", "bases")); err != nil {
		plane.Stop()
		return nil, err
	}
	return plane, nil
}

// ApplyProject applies the manifests at paths relative to the source tree's root, such as config/rbac.
func (p *Plane) ApplyProject(ctx context.Context, paths ...string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	return p.ApplyTree(ctx, root, paths...)
}

// ApplyTree applies the manifests at paths relative to the root of a source tree.
func (p *Plane) ApplyTree(ctx context.Context, root string, paths ...string) error {
	absolute := make([]string, len(paths))
	for i, path := range paths {
		absolute[i] = filepath.Join(root, path)
	}
	objects, err := ReadManifests(absolute...)
	if err != nil {
		return err
	}
	return p.Apply(ctx, objects...)
}
