package cluster

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var specText = regexp.MustCompile(`\b(?:Describe|It)\("([^"]+)"`)

func TestGuideListsAllSpecs(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	specs := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range specText.FindAllStringSubmatch(string(source), -1) {
			specs++
			if !strings.Contains(string(guide), match[1]) {
				t.Errorf("docs/guides/cluster.md doesn't list %q", match[1])
			}
		}
	}
	if specs < 30 {
		t.Errorf("found %d specs", specs)
	}
}
