// Command golangci-lint is golangci-lint with kube-api-linter compiled in. The `custom` command of golangci-lint, which does
// the same, clones repositories.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"

	_ "sigs.k8s.io/kube-api-linter" // registers itself as the module plugin "kubeapilinter"
)

func main() {
	if err := commands.Execute(commands.BuildInfo{GoVersion: runtime.Version(), Version: version()}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitcodes.Failure)
	}
}

// version returns the version of golangci-lint in go.mod, without the leading v.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/golangci/golangci-lint/v2" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}
