// Package claims checks that the tests named by documents exist, so that no document claims more than the tests
// check. Such a document has tables whose last column is "Held by", with tests as code spans.
package claims

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/internal/test/project"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// Check checks the document at a path below the tree's root. Each row names at least one test, or begins with "Not
// applicable: " and a reason. Each test must be known, or exist as "directory: TestName", "directory: TestName/case",
// or "directory: text of a spec or an entry". The document must have at least so many rows.
func Check(t *testing.T, path string, atLeast int, known func(test string) bool) {
	t.Helper()
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	rows, columns := 0, 0 // of the current table, if it has claims
	for number, line := range strings.Split(string(text), "\n") {
		row, isRow := strings.CutPrefix(line, "| ")
		cells := strings.Split(strings.TrimSuffix(row, " |"), " | ")
		last := cells[len(cells)-1]
		switch {
		case !strings.HasPrefix(line, "|"):
			columns = 0
			continue
		case !isRow:
			continue
		case last == "Held by":
			columns = len(cells)
			continue
		case columns == 0:
			continue
		case len(cells) != columns:
			t.Errorf("%s:%d has %d cells, not %d", path, number+1, len(cells), columns)
			continue
		}
		rows++
		if reason, ok := strings.CutPrefix(last, "Not applicable: "); ok && reason != "" {
			continue
		}
		tests := quoted.FindAllStringSubmatch(last, -1)
		if len(tests) == 0 {
			t.Errorf("%s:%d names no test: %s", path, number+1, line)
		}
		missing := slices.DeleteFunc(tests, func(test []string) bool { return known != nil && known(test[1]) || exists(root, test[1]) })
		for _, test := range missing {
			t.Errorf("%s:%d: no test %q", path, number+1, test[1])
		}
	}
	if rows < atLeast {
		t.Errorf("%s: found only %d rows", path, rows)
	}
}

func exists(root, test string) bool {
	dir, name, found := strings.Cut(test, ": ")
	if !found {
		return false
	}
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		return false
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && has(string(text), name) {
			return true
		}
	}
	return false
}

// has reports whether a file has a test: a function, a case of a function, or the text of a spec or entry.
func has(text, name string) bool {
	if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") {
		return strings.Contains(text, fmt.Sprintf("(%q", name))
	}
	function, testCase, hasCase := strings.Cut(name, "/")
	_, body, found := strings.Cut(text, "\nfunc "+function+"(")
	if !found || !hasCase {
		return found
	}
	body, _, _ = strings.Cut(body, "\n}\n")
	return strings.Contains(body, fmt.Sprintf("%q", testCase))
}
