package test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	whatsPerThousand       = 3 // in a package's comments, and in a document
	whatsPerThousandOfTree = 1 // in all comments together
	tree                   = "all comments"
)

// ceilings lists the places with findings that are still to be corrected: a count and a path a line. Without the file every
// ceiling is zero. `go test ./test -run TestLanguage -ceilings` writes it.
const ceilings = "testdata/language-ceilings.txt"

var writeCeilings = flag.Bool("ceilings", false, "write today's findings to "+ceilings)

// notOurs are directories that are built, or hold other formats.
var notOurs = map[string]bool{".git": true, ".local": true, "bin": true, "dist": true, "testdata": true, "template": true, "templates": true}

// TestLanguage reads the comments of every package and every document, and reports words that docs and comments avoid.
func TestLanguage(t *testing.T) {
	places := readTree(t, "..")
	if places[tree].words < 30_000 || len(places) < 100 {
		t.Fatalf("only %d places with %d words in comments were found", len(places), places[tree].words)
	}
	found := map[string][]finding{}
	for place, r := range places {
		switch place {
		case tree:
			found[place] = (&reading{words: r.words, whats: r.whats}).broken(whatsPerThousandOfTree)
		default:
			found[place] = r.broken(whatsPerThousand)
		}
	}
	if *writeCeilings {
		write(t, found)
	}
	ceiling := allowed(t)
	for place, findings := range found {
		if len(findings) <= ceiling[place] {
			continue
		}
		t.Errorf("%s: %d findings, %d allowed:\n%s", place, len(findings), ceiling[place], list(findings))
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

// allowed returns the findings that a place may still have.
func allowed(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(ceilings)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	most := map[string]int{}
	for line := range strings.Lines(string(text)) {
		count, place, _ := strings.Cut(strings.TrimSpace(line), " ")
		if most[place], err = strconv.Atoi(count); err != nil {
			t.Fatalf("%s: %q: %v", ceilings, line, err)
		}
	}
	return most
}

func write(t *testing.T, found map[string][]finding) {
	t.Helper()
	var lines []string
	for place, findings := range found {
		if len(findings) > 0 {
			lines = append(lines, fmt.Sprintf("%d %s\n", len(findings), place))
		}
	}
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[strings.Index(a, " "):], b[strings.Index(b, " "):])
	})
	if err := os.MkdirAll(filepath.Dir(ceilings), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ceilings, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}
