package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	tests := []struct {
		name, events, want string
	}{
		{"pass and skip", `
			{"Action":"run","Package":"a","Test":"TestA"}
			{"Action":"output","Package":"a","Test":"TestA","Output":"noise\n"}
			{"Action":"pass","Package":"a","Test":"TestA"}
			{"Action":"output","Package":"a","Test":"TestB","Output":"    b_test.go:7: lego isn't installed\n"}
			{"Action":"skip","Package":"a","Test":"TestB"}
			{"Action":"pass","Package":"a","Elapsed":1.5}
			{"Action":"skip","Package":"no/tests"}`,
			"ok    a  1.5s\n\nSkipped:\n  TestB: lego isn't installed\n\n1 passed, 0 failed, 1 skipped\n"},
		{"failure shows everything", `
			{"Action":"output","Package":"a","Test":"TestA","Output":"why\n"}
			{"Action":"fail","Package":"a","Test":"TestA"}
			{"Action":"fail","Package":"a","Elapsed":0.1}`,
			"why\nFAIL  a  0.1s\n\n0 passed, 1 failed, 0 skipped\n"},
		{"panic", `
			{"Action":"output","Package":"a","Test":"TestA","Output":"panic: oh\n"}
			{"Action":"fail","Package":"a","Elapsed":0.1}`,
			"panic: oh\nFAIL  a  0.1s\n\n0 passed, 1 failed, 0 skipped\n"},
		{"build failure", `
			{"Action":"build-output","ImportPath":"a","Output":"a.go:1:1: wrong\n"}
			{"Action":"build-fail","ImportPath":"a"}
			{"Action":"fail","Package":"a","Elapsed":0}`,
			"a.go:1:1: wrong\nFAIL  a  0.0s\n\n0 passed, 1 failed, 0 skipped\n"},
		{"Ginkgo", `
			{"Action":"output","Package":"a","Test":"TestSuite","Output":"  [SKIPPED] no certbot\n"}
			{"Action":"output","Package":"a","Test":"TestSuite","Output":"  [SKIPPED] [0.001 seconds]\n"}
			{"Action":"output","Package":"a","Test":"TestSuite","Output":"SUCCESS! -- \u001b[1m12 Passed\u001b[0m | 0 Failed | 1 Pending | 2 Skipped\n"}
			{"Action":"pass","Package":"a","Test":"TestSuite"}
			{"Action":"pass","Package":"a","Elapsed":3}`,
			"ok    a  3.0s\n\nSkipped:\n  TestSuite: 3 specs; no certbot\n\n12 passed, 0 failed, 3 skipped\n"},
		{"Ginkgo failing in its set-up", `
			{"Action":"output","Package":"a","Test":"TestSuite","Output":"FAIL! -- 0 Passed | 0 Failed | 0 Pending | 0 Skipped\n"}
			{"Action":"fail","Package":"a","Test":"TestSuite"}
			{"Action":"fail","Package":"a","Elapsed":3}`,
			"FAIL! -- 0 Passed | 0 Failed | 0 Pending | 0 Skipped\nFAIL  a  3.0s\n\n0 passed, 1 failed, 0 skipped\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(strings.TrimSpace(test.events))); err != nil {
				t.Fatal(err)
			}
			r.summary()
			if out.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", &out, test.want)
			}
		})
	}
}
