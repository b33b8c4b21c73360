package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// document writes the tables into a Markdown file, between <!-- NAME --> and <!-- end NAME -->.
func (r Report) document(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for name, table := range map[string][][]string{
		"targets": r.targetRows(), "loads": r.loadRows(), "revocations": r.revocationRows(), "pods": r.podRows(),
	} {
		if text, err = between(text, name, markdown(table)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return os.WriteFile(file, text, 0o644)
}

// between replaces the text between the two comments of a name.
func between(text []byte, name, with string) ([]byte, error) {
	begin, end := "<!-- "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, found := bytes.Cut(text, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return nil, fmt.Errorf("the document has no place for %s: no %q and %q", name, strings.TrimSpace(begin), end)
	}
	return bytes.Join([][]byte{before, []byte(begin + with + end), after}, nil), nil
}

// markdown writes a table whose first row is the header.
func markdown(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
		}
	}
	return b.String()
}

func (r Report) targetRows() [][]string {
	rows := [][]string{{"what", "target", "measured", ""}}
	for _, g := range r.targets() {
		verdict := g.verdict()
		if !g.met {
			verdict = "**" + verdict + "**"
		}
		rows = append(rows, []string{g.what, g.want, g.got(), verdict})
	}
	return rows
}

func (r Report) loadRows() [][]string {
	rows := [][]string{{"load", "clients", "names", "replicas", "certificates/s", "p50 ms", "p99 ms", "failed", "requests",
		"API writes", "API reads", "server CPU ms", "control plane CPU ms", "clients CPU ms", "of raw writes"}}
	row := func(l Load, of, replicas, writes, reads, plane, share string) {
		rows = append(rows, []string{of, fmt.Sprint(l.Clients), fmt.Sprint(l.Names), replicas, fmt.Sprintf("%.1f", l.Rate),
			fmt.Sprintf("%.1f", l.P50), fmt.Sprintf("%.1f", l.P99), fmt.Sprint(l.Failures), fmt.Sprintf("%.2f", l.Requests),
			writes, reads, fmt.Sprintf("%.1f", l.OperatorCPU), plane, fmt.Sprintf("%.1f", l.ClientCPU), share})
	}
	for _, l := range r.Loads {
		row(l, l.Of, fmt.Sprint(l.Replicas), fmt.Sprintf("%.2f", l.Writes), fmt.Sprintf("%.2f", l.Reads), fmt.Sprintf("%.1f", l.PlaneCPU),
			fmt.Sprintf("%.2f", r.share(l)))
	}
	for _, b := range r.Beside {
		for _, l := range b.Loads {
			row(l, b.Name+": "+l.Of, "", "", "", "", "")
		}
	}
	return rows
}
