package binaries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/acmeca/acmeca/internal/test/project"
)

// AtCommit provides the operator of an earlier commit, and the source tree of that commit with its manifests. Both are kept in the
// user's cache directory.
func AtCommit(ctx context.Context, progress io.Writer, commit string) (operator, tree string, err error) {
	root, err := project.Root()
	if err != nil {
		return "", "", err
	}
	b := &builder{ctx: ctx, root: root, bin: filepath.Join(root, "bin"), progress: progress}
	if err := b.makeDirectories(); err != nil {
		return "", "", err
	}
	tree = filepath.Join(b.cache, "acmeca-"+commit)
	operator = filepath.Join(tree, "bin", "acmeca")
	if _, err := os.Stat(operator); err == nil {
		return operator, tree, nil
	}
	temporary, err := os.MkdirTemp(b.cache, "acmeca-")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = os.RemoveAll(temporary) }() // absent after success
	if err := b.checkOut(commit, temporary); err != nil {
		return "", "", err
	}
	r := newReporter(progress)
	defer r.stop()
	r.begin("building acmeca of " + commit)
	build := exec.CommandContext(ctx, "go", "build", "-v", "-buildvcs=false", "-o", filepath.Join("bin", "acmeca"), "./cmd/acmeca")
	if _, err := runGo(build, temporary, r); err != nil {
		return "", "", err
	}
	return operator, tree, os.Rename(temporary, tree)
}

// checkOut writes the files of a commit into a directory.
func (b *builder) checkOut(commit, dir string) error {
	archive := exec.CommandContext(b.ctx, "git", "archive", "--format=tar", commit)
	archive.Dir, archive.Stderr = b.root, b.progress
	unpack := exec.CommandContext(b.ctx, "tar", "x", "-C", dir)
	unpack.Stderr = b.progress
	var err error
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		return err
	}
	if err := unpack.Start(); err != nil {
		return err
	}
	if err := errors.Join(archive.Run(), unpack.Wait()); err != nil {
		return fmt.Errorf("reading commit %s from git: %w", commit, err)
	}
	return nil
}
