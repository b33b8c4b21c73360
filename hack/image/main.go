// Command image makes a container image of static programs, without Docker and without a base image:
//
//	image -name registry.example/acmeca:v1 -o acmeca.tar bin/acmeca-linux-{arch}=/acmeca
//
// The file is an archive of an OCI layout, which `docker load`, `podman load`, `kind load image-archive` and
// `ctr images import` read. The digest depends only on the arguments and the bytes of the programs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A description lists the contents of an image.
type description struct {
	name   string
	user   string
	arches []string
	labels map[string]string
	files  []file
	args   []string // of the first file, before the container's own
}

// A file is a program on this machine, and its path in the image. {arch} in source stands for the architecture.
type file struct{ source, path string }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	d := description{labels: map[string]string{}}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	output := flags.String("o", "", "archive to write")
	push := flags.Bool("push", false, "push the image to the registry of its name, with the credentials of `docker login`")
	arches := flags.String("arch", runtime.GOARCH, "architectures, separated by commas")
	flags.StringVar(&d.name, "name", "", "name with registry and tag")
	flags.StringVar(&d.user, "user", "65532:65532", "user and group of the process")
	flags.Func("arg", "argument of the entry point; may be repeated", func(value string) error {
		d.args = append(d.args, value)
		return nil
	})
	flags.Func("label", "label as key=value; may be repeated", func(value string) error {
		key, text, found := strings.Cut(value, "=")
		if !found {
			return errors.New("not key=value")
		}
		d.labels[key] = text
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	d.arches = strings.Split(*arches, ",")
	for _, argument := range flags.Args() {
		source, path, found := strings.Cut(argument, "=/")
		if !found {
			return fmt.Errorf("%q is not FILE=/PATH", argument)
		}
		d.files = append(d.files, file{source, path})
	}
	if d.name == "" || len(d.files) == 0 {
		return errors.New("usage: image -name NAME [-o ARCHIVE] [-push] FILE=/PATH ...; the first file is the entry point")
	}
	return d.make(*output, *push)
}

// make builds the image, writes its archive, pushes it, and prints its digest.
func (d description) make(output string, push bool) error {
	built, err := d.build()
	if err != nil {
		return err
	}
	if output != "" {
		if err := built.writeArchive(output, d.name); err != nil {
			return err
		}
	}
	if push {
		reference, err := name.ParseReference(d.name)
		if err != nil {
			return err
		}
		if err := built.push(reference, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return err
		}
	}
	digest, err := built.Digest()
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}
