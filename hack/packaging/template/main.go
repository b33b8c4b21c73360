// Command template prints the objects of the Helm chart, as `helm template acmeca charts/acmeca --namespace NAMESPACE` does. Its
// argument is the namespace.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/hack/packaging"
)

func main() {
	if err := template(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "template:", err)
		os.Exit(1)
	}
}

func template(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("it takes a namespace")
	}
	root, err := packaging.Root()
	if err != nil {
		return err
	}
	objects, _, err := packaging.Helm(root, args[0], nil)
	if err != nil {
		return err
	}
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return err
		}
		fmt.Printf("---\n%s", text)
	}
	return nil
}
