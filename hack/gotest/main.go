// Command gotest runs `go test` with the given arguments and reports the number of tests at the end.
//
// It prints one line for a passing package, and the whole output of a failing one. It lists skipped tests with
// reasons, and ends with a line such as "120 passed, 0 failed, 2 skipped". A Ginkgo suite counts by its specs.
// such as "120 passed, 0 failed, 2 skipped". A Ginkgo suite counts by its specs.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	passed, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	if err != nil || !passed {
		os.Exit(1)
	}
}

// run reports whether every package was built and passed, and at least one test ran.
func run(args []string, out io.Writer) (bool, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	r := newReport(out)
	readErr := r.read(events)
	err = cmd.Wait()
	r.summary()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return false, err
	}
	return err == nil && r.passed > 0, readErr
}

// An event is a line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// maxLine bounds a line of JSON, which holds one line of a test's output.
const maxLine = 16 << 20

func (r *report) read(events io.Reader) error {
	scanner := bufio.NewScanner(events)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			fmt.Fprintln(r.out, scanner.Text()) // output of the go command, not of a test
			continue
		}
		r.add(e)
	}
	return scanner.Err()
}
