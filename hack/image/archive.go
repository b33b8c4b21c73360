package main

import (
	"archive/tar"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// writeArchive writes an OCI layout with one named artifact as a tar archive.
func writeArchive(built artifact, output, imageName string) error {
	dir, err := os.MkdirTemp("", "acmeca-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = built.appendTo(path, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          imageName, // containerd and Docker name the image by this
		"org.opencontainers.image.ref.name": imageName,
	}))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	return errors.Join(archiveDirectory(dir, file), file.Close())
}

// archiveDirectory writes the files of a directory in the order of their names.
func archiveDirectory(dir string, out *os.File) error {
	archive := tar.NewWriter(out)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return writeFile(archive, name, 0o644, content)
	})
	return errors.Join(err, archive.Close())
}
