package store

import (
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Errors of the store become HTTP answers in package answer alone.
func TestTheStoreKnowsNoHTTP(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range file.Imports {
			path, _ := strconv.Unquote(imported.Path.Value)
			if path == "net/http" || strings.HasPrefix(path, "github.com/acmeca/acmeca/acmeserver") {
				t.Errorf("%s imports %s", entry.Name(), path)
			}
		}
		if strings.Contains(string(text), "acme.Problem") || strings.Contains(string(text), "acme.NewProblem") {
			t.Errorf("%s makes a problem document", entry.Name())
		}
	}
}
