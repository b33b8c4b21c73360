// Command node has the parts of a node of `make cluster`:
//
//	acmeca-node create SPEC   makes the namespaces of a node, starts init in them, and prints the PID of init
//	acmeca-node init          is process 1 of a node: mounts file systems, starts programs on request, and reaps
//	acmeca-node pause         holds the namespaces of a Pod; also under the name /pause
//
// Everything of a node ends with its process 1, and all processes are in the cgroups that SPEC names. So a node leaves
// nothing behind, even if the program that made the node was killed.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	command := filepath.Base(os.Args[0])
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "create":
		err = create(os.Args[2])
	case "init":
		err = runInit()
	case "pause":
		pause()
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "acmeca-node:", err)
		os.Exit(1)
	}
}
