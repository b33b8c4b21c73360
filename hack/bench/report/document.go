package report

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/acmeca/acmeca/hack/bench/load"
)

// WriteDocument writes the tables into a Markdown file, between <!-- NAME --> and <!-- end NAME -->.
func (r Report) WriteDocument(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for name, table := range map[string][][]string{
		"targets": r.targetRows(bold), "loads": r.loadRows(), "revocations": r.revocationRows(), "pods": r.podRows(),
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

// plain and bold format the verdict of a missed target.
func plain(text string) string { return text }
func bold(text string) string  { return "**" + text + "**" }

func (r Report) targetRows(missed func(string) string) [][]string {
	rows := [][]string{{"what", "target", "measured", "over rounds", "", "medians"}}
	for _, row := range r.targets() {
		verdict := row.verdict()
		if verdict != "met" && verdict != "" {
			verdict = missed(verdict)
		}
		rows = append(rows, []string{row.What, row.target(), Quantity(row.Spread().Median, row.Unit), row.spread(), verdict, row.Note})
	}
	return rows
}

func (r Report) loadRows() [][]string {
	rows := [][]string{{"load", "clients", "names", "replicas", "certificates/s", "p50 ms", "p99 ms", "failed", "requests",
		"API writes", "API reads", "server CPU ms", "control plane CPU ms", "clients CPU ms", "of raw writes"}}
	row := func(l load.Result, of, replicas, share string) {
		writes, reads, plane := "", "", ""
		if l.Writes > 0 {
			writes, reads, plane = fmt.Sprintf("%.2f", l.Writes), fmt.Sprintf("%.2f", l.Reads), fmt.Sprintf("%.1f", l.PlaneCPU)
		}
		rows = append(rows, []string{of, fmt.Sprint(l.Clients), fmt.Sprint(l.Names), replicas, fmt.Sprintf("%.1f", l.Rate),
			fmt.Sprintf("%.1f", l.P50), fmt.Sprintf("%.1f", l.P99), fmt.Sprint(l.Failures), fmt.Sprintf("%.2f", l.Requests),
			writes, reads, fmt.Sprintf("%.1f", l.ServerCPU), plane, fmt.Sprintf("%.1f", l.ClientCPU), share})
	}
	for _, b := range r.Beside {
		for _, l := range b.Loads {
			row(l, b.Name+": "+l.Of, "", "")
		}
	}
	for _, l := range r.Loads {
		row(l, l.Of, fmt.Sprint(l.Replicas), fmt.Sprintf("%.2f", r.share(l)))
	}
	return rows
}

func (r Report) revocationRows() [][]string {
	rows := [][]string{{"revoked", "orders", "CRL", "revocation to CRL over HTTP", "controllers at most", "ACME server at most"}}
	for _, row := range r.Revocations {
		orders := "stored"
		if !row.StoredOrders {
			orders = "deleted"
		}
		size := fmt.Sprintf("%.1f MB", float64(row.CRLBytes)/1e6)
		rows = append(rows, []string{fmt.Sprint(row.Revoked), orders, size, fmt.Sprintf("%.2f s", row.Seconds),
			fmt.Sprintf("%d MiB", row.ControllersPeak>>20), fmt.Sprintf("%d MiB", row.ServerPeak>>20)})
	}
	return rows
}

func (r Report) podRows() [][]string {
	rows := [][]string{{"Pods", "kubelets", "requests/s", "p50 ms", "p99 ms", "writes of the AcmeOrder", "writes of the request's status"}}
	if p := r.Pods; p != nil {
		rows = append(rows, []string{fmt.Sprint(p.Requests), fmt.Sprint(p.Kubelets), fmt.Sprintf("%.1f", p.Rate), fmt.Sprintf("%.1f", p.P50),
			fmt.Sprintf("%.1f", p.P99), fmt.Sprintf("%.2f", p.OrderWrites), fmt.Sprintf("%.2f", p.AnswerWrites)})
	}
	return rows
}
