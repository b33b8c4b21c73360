package docs

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

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
