package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of all files and of the image, so that the digest does not depend on the time of the build.
var epoch = time.Unix(0, 0).UTC()

// An artifact is an image for one architecture, or an index of images for several.
type artifact interface {
	Digest() (v1.Hash, error)
	appendTo(path layout.Path, options ...layout.Option) error
	push(reference name.Reference, options ...remote.Option) error
	writeArchive(output, imageName string) error
}

type single struct{ v1.Image }

func (s single) appendTo(path layout.Path, options ...layout.Option) error {
	return path.AppendImage(s.Image, options...)
}

func (s single) push(reference name.Reference, options ...remote.Option) error {
	return remote.Write(reference, s.Image, options...)
}

func (s single) writeArchive(output, imageName string) error {
	return writeArchive(s, output, imageName)
}

type several struct{ v1.ImageIndex }

func (s several) appendTo(path layout.Path, options ...layout.Option) error {
	return path.AppendIndex(s.ImageIndex, options...)
}

func (s several) push(reference name.Reference, options ...remote.Option) error {
	return remote.WriteIndex(reference, s.ImageIndex, options...)
}

func (s several) writeArchive(output, imageName string) error {
	return writeArchive(s, output, imageName)
}

func (d description) build() (artifact, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range d.arches {
		image, err := d.buildFor(arch)
		if err != nil {
			return nil, err
		}
		if len(d.arches) == 1 {
			return single{image}, nil
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return several{index}, nil
}

func (d description) buildFor(arch string) (v1.Image, error) {
	files, err := d.layer(arch)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: epoch}
	config.History = nil
	config.Config = v1.Config{User: d.user, Entrypoint: append([]string{"/" + d.files[0].path}, d.args...), Labels: d.labels}
	return mutate.ConfigFile(image, config)
}

// layer returns the files as a tar archive, with the same bytes on each machine.
func (d description) layer(arch string) ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, f := range d.files {
		for _, dir := range parents(f.path) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch}); err != nil {
				return nil, err
			}
		}
		content, err := os.ReadFile(strings.ReplaceAll(f.source, "{arch}", arch))
		if err != nil {
			return nil, err
		}
		if err := writeFile(archive, f.path, 0o755, content); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), archive.Close()
}

// parents returns the directories above a path, the topmost first.
func parents(file string) []string {
	dir := path.Dir(file)
	if dir == "." {
		return nil
	}
	return append(parents(dir), dir)
}

func writeFile(archive *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: epoch}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
