package conformance

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"

	"github.com/acmeca/acmeca/hack/project"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// TestTable holds docs/conformance.md to name tests that exist, for each requirement at least one: specs of this suite by
// their full text, and others as "directory: TestName" or "directory: text of a spec".
func TestTable(t *testing.T) {
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]bool{}
	for _, spec := range PreviewSpecs("Conformance").SpecReports {
		specs[spec.FullText()] = true
	}
	file, err := os.Open(filepath.Join(root, "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows := 0
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		cells := strings.Split(strings.Trim(lines.Text(), "| "), " | ")
		if !strings.HasPrefix(lines.Text(), "| ") || len(cells) != 4 || cells[0] == "Section" || strings.HasPrefix(cells[0], "-") {
			continue
		}
		rows++
		if reason, ok := strings.CutPrefix(cells[3], "Not applicable: "); ok && reason != "" {
			continue
		}
		tests := quoted.FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("line %d names no test: %s", number, lines.Text())
		}
		for _, test := range tests {
			if !specs[test[1]] && !exists(root, test[1]) {
				t.Errorf("line %d: there is no test %q", number, test[1])
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if rows < 100 {
		t.Errorf("only %d rows were read", rows)
	}
}

// exists finds a test outside of this suite.
func exists(root, test string) bool {
	dir, name, found := strings.Cut(test, ": ")
	if !found {
		return false
	}
	text := fmt.Sprintf("%q", name)
	if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") {
		text = "func " + name + "("
	}
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		return false
	}
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}
