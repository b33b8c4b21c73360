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

// addOutput adds the flag -o with the given formats.
func (o *options) addOutput(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "output format: "+strings.Join(formats, ", "))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.output == "" || slices.Contains(formats, o.output) {
			return nil
		}
		return fmt.Errorf("unknown output format %q; use one of: %s", o.output, strings.Join(formats, ", "))
	}
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return formats, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RegisterFlagCompletionFunc("output", complete) //nolint:errcheck // the flag exists
}

// structured writes a value as JSON or YAML, and reports whether -o asked for it.
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

// visible replaces format characters, such as those that change the direction of text. YAML's encoder writes them as they are.
func visible(r rune) rune {
	if unicode.Is(unicode.Cf, r) {
		return '?'
	}
	return r
}

// escape writes control and format characters as JSON escapes if encoding/json leaves them: DEL, C1 controls, and characters that
// change the direction of text. A terminal could obey them. In JSON text they occur only in strings. YAML's encoder escapes
// controls itself, but its parser refuses unescaped ones.
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

// indented indents each line by two columns.
type indented struct{ io.Writer }

func (i *indented) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		if _, err := io.WriteString(i.Writer, "  "+line); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}
