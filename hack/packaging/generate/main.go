// Command generate writes the Helm chart's files and the OLM bundle from config.
package main

import (
	"fmt"
	"os"

	"github.com/acmeca/acmeca/hack/packaging"
)

func main() {
	if err := generate(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate() error {
	root, err := packaging.Root()
	if err != nil {
		return err
	}
	if err := packaging.GenerateChart(root); err != nil {
		return fmt.Errorf("the chart: %w", err)
	}
	if err := packaging.GenerateBundle(root); err != nil {
		return fmt.Errorf("the bundle: %w", err)
	}
	return nil
}
