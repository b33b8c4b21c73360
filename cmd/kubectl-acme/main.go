// Command kubectl-acme is a kubectl plugin: `kubectl acme`. It shows acmeca's objects and explains failures. It also does the tasks of a
// CA's operator: it revokes certificates, rotates keys, manages external account keys and distributes roots.
package main

import (
	"os"

	"github.com/acmeca/acmeca/cmd/kubectl-acme/plugin"
)

func main() { os.Exit(plugin.Main(os.Args)) }
