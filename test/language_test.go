package test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	whatsPerThousand       = 3 // in a package's comments, and in a document
	whatsPerThousandOfTree = 1 // in all comments together
	tree                   = "all comments"
)

// notOurs are directories that are built, or hold other formats.
var notOurs = map[string]bool{".git": true, ".local": true, "bin": true, "dist": true, "testdata": true, "template": true, "templates": true}

// TestLanguage reads the comments of every package and every document, and reports words that docs and comments avoid.
func TestLanguage(t *testing.T) {
	places := readTree(t, "..")
	if places[tree].words < 30_000 || len(places) < 100 {
		t.Fatalf("only %d places with %d words in comments were found", len(places), places[tree].words)
	}
	for place, r := range places {
		findings := r.broken(whatsPerThousand)
		if place == tree {
			findings = (&reading{words: r.words, whats: r.whats}).broken(whatsPerThousandOfTree)
		}
		if len(findings) > 0 {
			t.Errorf("%s: %d findings:\n%s", place, len(findings), list(findings))
		}
	}
}

// list shows one finding a line.
func list(findings []finding) string {
	var lines strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&lines, "\t%s\n", f)
	}
	return lines.String()
}

// readTree reads all Go files and documents below a directory: a reading for each package, for each document, and for all
// comments together.
func readTree(t *testing.T, root string) map[string]*reading {
	t.Helper()
	places := map[string]*reading{tree: {}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && notOurs[entry.Name()] {
			return filepath.SkipDir
		}
		extension := filepath.Ext(path)
		if entry.IsDir() || extension != ".go" && extension != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if extension == ".md" {
			if path != filepath.Join("docs", "reference", "api.md") { // generated from comments
				r := readMarkdown(path, string(text))
				places[path] = &r
			}
			return nil
		}
		dir := filepath.Dir(path)
		r, err := readGo(path, text)
		if dir == "test" { // its strings are the phrases themselves
			r.findings = slices.DeleteFunc(r.findings, func(f finding) bool { return f.inString })
		}
		if places[dir] == nil {
			places[dir] = &reading{}
		}
		places[dir].add(r)
		places[tree].add(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return places
}
