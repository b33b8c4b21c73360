package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// addOutput adds -o with the formats that a command has.
func (o *options) addOutput(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "output format: "+strings.Join(formats, ", "))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.output == "" || slices.Contains(formats, o.output) {
			return nil
		}
		return fmt.Errorf("there is no output format %q here; these are: %s", o.output, strings.Join(formats, ", "))
	}
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return formats, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RegisterFlagCompletionFunc("output", complete) //nolint:errcheck // the flag is there
}

// structured writes a value as JSON or YAML, if that was asked for.
func (o *options) structured(value any) (done bool, err error) {
	switch o.output {
	case "json":
		return true, writeJSON(o.Out, value)
	case "yaml":
		return true, writeYAML(o.Out, value)
	}
	return false, nil
}

func writeJSON(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "    ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, escape(string(text)))
	return err
}

func writeYAML(w io.Writer, value any) error {
	asJSON, err := json.Marshal(value)
	if err != nil {
		return err
	}
	text, err := yaml.JSONToYAML([]byte(escape(string(asJSON))))
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.Map(visible, string(text)))
	return err
}

// visible replaces the marks that change the direction of writing, which YAML's encoder takes for printable. JSON has them
// as they are.
func visible(r rune) rune {
	if unicode.Is(unicode.Cf, r) {
		return '?'
	}
	return r
}

// escape writes as JSON escapes what encoding/json leaves and a terminal could obey: DEL, the C1 controls, marks that
// change the direction of writing. In JSON text they stand in strings alone. YAML's encoder escapes controls by itself, but
// reads none that aren't.
func escape(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) && r <= 0xffff {
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// indented writes each line two columns in.
type indented struct{ io.Writer }

func (i *indented) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		if _, err := io.WriteString(i.Writer, "  "+line); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}
