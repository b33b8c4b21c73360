package store

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const acmeServer = "github.com/acmeca/acmeca/acmeserver"

// Errors of the store become HTTP answers in package answer alone.
func TestTheStoreKnowsNoHTTP(t *testing.T) {
	files, _ := filepath.Glob("*.go") // the pattern is well-formed
	published, _ := filepath.Glob("../published/*.go")
	if len(files) == 0 || len(published) == 0 {
		t.Fatal("there are no files")
	}
	for _, name := range append(files, published...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range file.Imports {
			path, _ := strconv.Unquote(imported.Path.Value)
			if path == "net/http" || strings.HasPrefix(path, acmeServer) && path != acmeServer+"/store" {
				t.Errorf("%s imports %s", name, path)
			}
		}
		if strings.Contains(string(text), "acme.Problem") || strings.Contains(string(text), "acme.NewProblem") {
			t.Errorf("%s makes a problem document", name)
		}
	}
}
