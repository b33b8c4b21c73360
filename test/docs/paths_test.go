package docs

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pathInText is a path of this repository in a document: its first element is a directory of the root.
var pathInText = regexp.MustCompile(`^(?:\.ci|\.github|acmeserver|api|bundle|charts|cmd|config|controllers|docs|findings|hack|internal|test)/[\w./-]*$`)

// goName is a name of a Go package, behind its path.
var goName = regexp.MustCompile(`\.[A-Z]\w*$`)

func TestPathsExist(t *testing.T) {
	checked := 0
	for _, d := range documents(t) {
		if strings.HasPrefix(d.path, "docs/decisions/") || d.path == "CHANGELOG.md" { // these speak of their time
			continue
		}
		for _, match := range span.FindAllString(d.prose, -1) {
			name := goName.ReplaceAllString(strings.Trim(match, "`"), "")
			if !pathInText.MatchString(name) {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.Join(root(t), name)); err != nil {
				t.Errorf("%s: there is no %s", d.path, name)
			}
		}
	}
	if checked < 100 {
		t.Errorf("found only %d paths", checked)
	}
}

func TestEveryDecisionIsInTheIndexOnce(t *testing.T) {
	dir := filepath.Join(root(t), "docs", "decisions")
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob(filepath.Join(dir, "[0-9]*.md"))
	if err != nil || len(records) < 50 {
		t.Fatalf("%d records: %v", len(records), err)
	}
	for _, record := range records {
		if rows := strings.Count(string(index), "]("+filepath.Base(record)+")"); rows != 1 {
			t.Errorf("the index has %d rows for %s", rows, filepath.Base(record))
		}
	}
}

func TestDependabotKnowsEveryModule(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), ".github", "dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "*go.mod")
	cmd.Dir = root(t)
	modules, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range strings.Fields(string(modules)) {
		if dir := path.Join("/", path.Dir(file)); !strings.Contains(string(text), "\n  - "+dir+"\n") {
			t.Errorf("dependabot.yml lacks the module in %s", dir)
		}
	}
}
