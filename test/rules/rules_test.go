// Package rules parses the alert rules and the dashboard as Prometheus does, and checks them against the metrics in
// docs/metrics.md. test/observability checks that document against a running operator.
package rules

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const root = "../../"

// scraped are the labels that Prometheus adds to scraped metrics.
var scraped = []string{"job", "instance", "namespace", "pod"}

// metrics returns the labels of each metric in docs/metrics.md, and whether it is a histogram.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\|")
	for _, match := range row.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		names := slices.Clone(scraped)
		for _, label := range regexp.MustCompile("[a-z_]+").FindAllString(match[3], -1) {
			names = append(names, label)
		}
		if match[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				found[match[1]+suffix] = append(slices.Clone(names), "le")
			}
			continue
		}
		found[match[1]] = names
	}
	if len(found) < 20 {
		t.Fatalf("docs/metrics.md lists %d metrics", len(found))
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(root + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// check parses an expression, and checks that each metric and label in the expression exists.
func check(t *testing.T, known map[string][]string, expression string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
		return
	}
	selectors := 0
	var names []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			selectors++
			allowed, exists := known[selector.Name]
			if !exists {
				t.Errorf("%s: no metric %q", expression, selector.Name)
			}
			for _, m := range selector.LabelMatchers {
				if m.Name != labels.MetricName && exists && !slices.Contains(allowed, m.Name) {
					t.Errorf("%s: %s has no label %q", expression, selector.Name, m.Name)
				}
			}
			names = append(names, allowed...)
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		var grouping []string
		switch node := node.(type) {
		case *parser.AggregateExpr:
			grouping = node.Grouping
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				grouping = append(node.VectorMatching.MatchingLabels, node.VectorMatching.Include...)
			}
		}
		for _, label := range grouping {
			if !slices.Contains(names, label) {
				t.Errorf("%s: none of its metrics has a label %q", expression, label)
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s names no metric", expression)
	}
}

func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	var object struct {
		Kind string
		Spec json.RawMessage
	}
	if err := yaml.Unmarshal([]byte(read(t, "config/prometheus/rules.yaml")), &object); err != nil || object.Kind != "PrometheusRule" {
		t.Fatal(object.Kind, err)
	}
	groups, errs := rulefmt.Parse(object.Spec, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var rules []rulefmt.Rule
	for _, group := range groups.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

func TestAlerts(t *testing.T) {
	known := metrics(t)
	rules := alerts(t)
	if len(rules) < 10 {
		t.Fatalf("%d alerts", len(rules))
	}
	index := read(t, "docs/runbooks/README.md")
	for _, rule := range rules {
		t.Run(rule.Alert, func(t *testing.T) {
			check(t, known, rule.Expr)
			page := "docs/runbooks/" + rule.Alert + ".md"
			if !strings.HasPrefix(read(t, page), "# "+rule.Alert+"\n") {
				t.Errorf("%s has another title", page)
			}
			if !strings.Contains(index, "("+rule.Alert+".md)") {
				t.Error("docs/runbooks/README.md doesn't list it")
			}
			if want := "https://github.com/acmeca/acmeca/blob/main/" + page; rule.Annotations["runbook_url"] != want {
				t.Errorf("runbook_url is %q, not %q", rule.Annotations["runbook_url"], want)
			}
			if severity := rule.Labels["severity"]; severity != "warning" && severity != "critical" {
				t.Errorf("severity is %q", severity)
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || time.Duration(rule.For) == 0 {
				t.Error("it lacks summary, description or for")
			}
		})
	}
}

// TestRunbooks checks that each page has an alert, and checks the queries in the pages.
func TestRunbooks(t *testing.T) {
	known := metrics(t)
	var names []string
	for _, rule := range alerts(t) {
		names = append(names, rule.Alert)
	}
	entries, err := os.ReadDir(root + "docs/runbooks")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```promql\n(.*?)```")
	for _, entry := range entries {
		name, _ := strings.CutSuffix(entry.Name(), ".md")
		if name != "README" && !slices.Contains(names, name) {
			t.Errorf("no alert for docs/runbooks/%s", entry.Name())
		}
		for _, match := range block.FindAllStringSubmatch(read(t, "docs/runbooks/"+entry.Name()), -1) {
			for query := range strings.Lines(match[1]) {
				check(t, known, query)
			}
		}
	}
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

func TestDashboard(t *testing.T) {
	known := metrics(t)
	var dashboard struct {
		UID, Title string
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
		Panels []panel
	}
	if err := json.Unmarshal([]byte(read(t, "config/prometheus/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) < 10 {
		t.Fatal("the dashboard lacks uid, title or panels")
	}
	variables := regexp.MustCompile(`\$(\w+|\{\w+\})`)
	defined := []string{"__rate_interval", "__range"}
	for _, v := range dashboard.Templating.List {
		defined = append(defined, v.Name)
	}
	seen, queries := map[int]bool{}, 0
	for i, p := range dashboard.Panels {
		if seen[p.ID] {
			t.Errorf("panel %q has the id of another one", p.Title)
		}
		seen[p.ID] = true
		for _, q := range dashboard.Panels[:i] {
			if overlap(p, q) {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
		for _, target := range p.Targets {
			queries++
			for _, v := range variables.FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(defined, strings.Trim(v[1], "{}")) {
					t.Errorf("panel %q: no variable %s", p.Title, v[0])
				}
			}
			expression := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(target.Expr)
			check(t, known, variables.ReplaceAllString(expression, "x"))
		}
	}
	if queries < 20 {
		t.Errorf("%d queries", queries)
	}
}

func overlap(p, q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// TestDashboardIsOne decodes the dashboard with Grafana's own types for panels and queries: no unknown field, no
// missing field, and no other kind.
func TestDashboardIsOne(t *testing.T) {
	known := cog.NewRuntime()
	known.RegisterPanelcfgVariant(stat.VariantConfig())
	known.RegisterPanelcfgVariant(timeseries.VariantConfig())
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
	text := read(t, "config/prometheus/dashboard.json")
	if wrong := whatIsWrong(text); wrong != "" {
		t.Error(wrong)
	}
	for right, wrong := range map[string]string{
		`"colorMode"`: `"colourMode"`, `"fillOpacity"`: `"opacity"`, `"expr"`: `"query"`, `"gridPos"`: `"position"`, `"includeAll"`: `"all"`,
		`"decimals": 0`: `"decimals": "none"`, `"timeseries"`: `"stat"`,
	} {
		if !strings.Contains(text, right) || whatIsWrong(strings.Replace(text, right, wrong, 1)) == "" {
			t.Errorf("%s in place of %s is not detected", wrong, right)
		}
	}
}

// whatIsWrong returns the error in a dashboard, or "". The library returns an error without a text for a valid
// dashboard.
func whatIsWrong(text string) string {
	var d grafana.Dashboard
	if err := d.UnmarshalJSONStrict([]byte(text)); err != nil && err.Error() != "" {
		return err.Error()
	}
	if err := d.Validate(); err != nil {
		return err.Error()
	}
	return ""
}
