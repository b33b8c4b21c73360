// Package project finds the source tree of the running development program or test.
package project

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Module is the import path of the operator's module.
const Module = "github.com/acmeca/acmeca"

// Root returns the absolute path of the directory with the operator's go.mod: the working directory or the nearest
// parent. `go test` runs in the package's own directory, so tests anywhere in the tree find it too.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module "+Module+"\n")) {
			return dir, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of %s", start, Module)
		}
	}
}
