package main

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// A report collects the events of one run.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	skips                   []string
	output                  map[string]*strings.Builder // all output of running packages
	tests                   map[string]*strings.Builder // of running tests
	failures                map[string]int              // by package
}

func newReport(out io.Writer) *report {
	return &report{
		out:      out,
		output:   map[string]*strings.Builder{},
		tests:    map[string]*strings.Builder{},
		failures: map[string]int{},
	}
}

func (r *report) add(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output":
		write(r.output, e.Package, e.Output)
		write(r.tests, e.key(), e.Output)
	case e.Test != "":
		r.endTest(e)
	default:
		r.endPackage(e)
	}
}

func (e event) key() string { return e.Package + " " + e.Test }

func write(buffers map[string]*strings.Builder, key, text string) {
	if buffers[key] == nil {
		buffers[key] = &strings.Builder{}
	}
	buffers[key].WriteString(text)
}

func take(buffers map[string]*strings.Builder, key string) string {
	if buffers[key] == nil {
		return ""
	}
	defer delete(buffers, key)
	return buffers[key].String()
}

func (r *report) endTest(e event) {
	switch e.Action {
	case "pass", "fail", "skip":
	default:
		return
	}
	output := take(r.tests, e.key())
	if r.addSpecs(e, output) {
		return
	}
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.fail(e.Package, 1)
	case "skip":
		r.skipped++
		r.skips = append(r.skips, e.Test+": "+reason(output))
	}
}

func (r *report) fail(pkg string, n int) {
	r.failed += n
	r.failures[pkg] += n
}

// specs matches the last line of a Ginkgo suite.
var specs = regexp.MustCompile(`(\d+) Passed.*? \| .*?(\d+) Failed.*? \| .*?(\d+) Pending.*? \| .*?(\d+) Skipped`)

// addSpecs counts a Ginkgo suite, which is one Go test, by its specs.
func (r *report) addSpecs(e event, output string) bool {
	match := specs.FindStringSubmatch(output)
	if match == nil {
		return false
	}
	counts := make([]int, 5)
	for i, text := range match[1:] {
		counts[i+1], _ = strconv.Atoi(text) // the pattern guarantees digits
	}
	skipped := counts[3] + counts[4]
	r.passed += counts[1]
	r.fail(e.Package, counts[2])
	r.skipped += skipped
	if skipped > 0 {
		r.skips = append(r.skips, fmt.Sprintf("%s: %d specs%s", e.Test, skipped, specReasons(output)))
	}
	return true
}

var skippedSpec = regexp.MustCompile(`\[SKIPPED\] (.+)`)

// specReasons returns the distinct reasons of skipped specs.
func specReasons(output string) string {
	var text string
	for _, match := range skippedSpec.FindAllStringSubmatch(output, -1) {
		if why := "; " + strings.TrimSpace(match[1]); !strings.HasPrefix(match[1], "[") && !strings.Contains(text, why) {
			text += why
		}
	}
	return text
}

// logPlace matches the source position that the testing package puts before a logged line.
var logPlace = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// reason returns the message of a test that skipped itself.
func reason(output string) string {
	for line := range strings.Lines(output) {
		if place := logPlace.FindString(line); place != "" {
			return strings.TrimSpace(line[len(place):])
		}
	}
	return "no reason given"
}

func (r *report) endPackage(e event) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
	case "fail":
		fmt.Fprintf(r.out, "%sFAIL  %s  %.1fs\n", take(r.output, e.Package), e.Package, e.Elapsed)
		r.failUnfinished(e.Package)
	case "skip": // no test files
	default:
		return
	}
	delete(r.output, e.Package)
}

// failUnfinished counts the tests that never ended, because a panic or a time-out ends the whole package. A package
// that failed without a test, because it was not built or its set-up failed, counts as one.
func (r *report) failUnfinished(pkg string) {
	for key := range r.tests {
		if test, ok := strings.CutPrefix(key, pkg+" "); ok {
			delete(r.tests, key)
			if test != "" {
				r.fail(pkg, 1)
			}
		}
	}
	if r.failures[pkg] == 0 {
		r.fail(pkg, 1)
	}
}

func (r *report) summary() {
	if len(r.skips) > 0 {
		fmt.Fprintf(r.out, "\nSkipped:\n  %s\n", strings.Join(r.skips, "\n  "))
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}
