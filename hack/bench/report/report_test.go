package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/hack/bench/load"
)

func aReport() Report {
	return Report{
		RawWrites: 1000,
		Rows: []Row{
			{Part: "servers", What: "CPU / before", AtMost: 0.75, Rounds: []float64{0.8, 0.9, 0.7}, Note: "16.0 ms and 20.0 ms"},
			{Part: "stored", What: "start / before", AtMost: 0.2, Rounds: []float64{0.1}},
		},
		LeftOut: []Omission{{Part: "servers", What: "Pebble", Why: "not built"}, {Part: "stored", What: "old", Why: "no git"}},
		Loads: []load.Result{
			{Of: "new names", Clients: 1, Names: 1, Certificates: 9, Rate: 40, P50: 25, Writes: 5, Requests: 5},
			{Of: "new names", Clients: 64, Names: 1, Certificates: 9, Rate: 100, P50: 600, P99: 1200, Writes: 6.5},
			{Of: "new names", Clients: 64, Names: 1, Certificates: 9, Replicas: 3, Rate: 1},
		},
		Beside: []Beside{
			{Name: "acmeca", Loads: []load.Result{{Of: "new names", Clients: 64, Names: 1, Rate: 90, Writes: 5}}},
			{Name: "step-ca", Loads: []load.Result{{Of: "new names", Clients: 64, Names: 1, Rate: 101}}},
		},
	}
}

func TestTargetsOfLoads(t *testing.T) {
	for _, row := range aReport().loadTargets() {
		if !row.Met() {
			t.Errorf("%s: %v is not %s", row.What, row.Rounds, row.target())
		}
	}
	slow := aReport()
	for i := range slow.Loads {
		l := &slow.Loads[i]
		l.Rate, l.Reads, l.Requests, l.P50, l.P99 = l.Rate/10, 1, l.Requests+4, 2*l.P50, 20*l.P99
	}
	slow.Revocations = []Revocation{{Revoked: 10, StoredOrders: true, Seconds: 3, ControllersPeak: 1 << 30, ServerPeak: 1 << 30}}
	for _, row := range append(slow.loadTargets(), slow.revocationTargets()...) {
		if row.Met() {
			t.Errorf("%s: %v counts as %s", row.What, row.Rounds, row.target())
		}
	}
	if rows := (Report{}).loadTargets(); len(rows) > 0 {
		t.Errorf("targets without loads: %v", rows)
	}
}

func TestClearKeepsOtherParts(t *testing.T) {
	r := aReport()
	r.Clear("servers")
	if len(r.Rows) != 1 || r.Rows[0].Part != "stored" || len(r.LeftOut) != 1 || r.LeftOut[0].What != "old" {
		t.Errorf("%+v, %+v", r.Rows, r.LeftOut)
	}
}

func TestReportSurvivesJSON(t *testing.T) {
	text, err := json.Marshal(aReport())
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	var before, after bytes.Buffer
	aReport().Print(&before)
	back.Print(&after)
	if before.String() != after.String() {
		t.Errorf("%s\nbecame\n%s", &before, &after)
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	aReport().Print(&out)
	for _, want := range []string{"at most 0.75     0.80      0.70 to 0.90  missed  16.0 ms and 20.0 ms", "left out: Pebble: not built"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "kubelets") {
		t.Error("an empty table is printed")
	}
}

func TestChartIsXML(t *testing.T) {
	decoder := xml.NewDecoder(bytes.NewReader(aReport().Chart()))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.md")
	text := "# A\n<!-- loads -->\nold\n<!-- end loads -->\nbetween\n<!-- targets -->\n<!-- end targets -->\n<!-- revocations -->\n<!-- end revocations -->\n<!-- pods -->\n<!-- end pods -->\nend\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := aReport()
	r.Pods = &Pods{Requests: 500, Kubelets: 16, Rate: 99.5, P50: 20, P99: 40, OrderWrites: 2, AnswerWrites: 1}
	for range 2 { // a new table replaces the old one
		if err := r.WriteDocument(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| new names | 1 | 1 | 0 | 40.0 | 25.0 |", "| step-ca: new names | 64 |", "| 500 | 16 | 99.5 | 20.0 | 40.0 | 2.00 | 1.00 |\n",
		"| CPU / before | at most 0.75 | 0.80 | 0.70 to 0.90 | **missed** |", "\n<!-- end loads -->\nbetween\n", "\nend\n"} {
		if strings.Count(string(got), want) != 1 {
			t.Errorf("%q does not occur once:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old text is still there")
	}
	if err := r.WriteDocument(filepath.Join(t.TempDir(), "none.md")); err == nil {
		t.Error("a missing file is no error")
	}
	if _, err := between([]byte("<!-- a -->\n"), "a", ""); err == nil {
		t.Error("a place without an end is accepted")
	}
}
