// Command kubectl-acme is a plugin of kubectl: `kubectl acme`. It shows what acmeca's objects say, why something failed,
// and does what a person does to a CA: revoke, rotate, hand out external account keys, give its roots to others.
package main

import (
	"os"

	"github.com/acmeca/acmeca/cmd/kubectl-acme/plugin"
)

func main() { os.Exit(plugin.Main(os.Args)) }
