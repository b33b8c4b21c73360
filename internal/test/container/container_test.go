package container

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
)

const bytesVariable = "CONTAINER_TEST_BYTES"

func TestMain(m *testing.M) {
	if os.Getenv(bytesVariable) == "" {
		os.Exit(m.Run())
	}
	// The process in the container uses memory when it is told to.
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	memory := make([]byte, 64<<20)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	_, _ = io.WriteString(os.Stdout, "done\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

func TestShippedLimits(t *testing.T) {
	for _, half := range []string{"controller", "server"} {
		if limit, err := shippedLimit(half); err != nil || limit < 64<<20 {
			t.Errorf("%s: %d, %v", half, limit, err)
		}
	}
}

// A process beyond its limit is killed if the kernel enforces limits, and its peak shows the excess otherwise.
func TestAProcessBeyondItsLimit(t *testing.T) {
	c := &Container{Half: "test", Limit: 32 << 20}
	c.cgroup, _ = makeCgroup("acmeca-test", c.Limit)
	defer c.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bytesVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "\n")
	text, _ := bufio.NewReader(out).ReadString('\n')
	usage, _ := UsageOf(cmd.Process.Pid)
	_, _ = io.WriteString(in, "\n")
	err = cmd.Wait()
	switch {
	case c.Enforced() && (err == nil || text != "" || c.Killed() != 1):
		t.Errorf("the kernel enforces %d bytes, and the process ended with %v after %q; %d were killed", c.Limit, err, text, c.Killed())
	case !c.Enforced() && (err != nil || usage.Peak < c.Limit || usage.Now < c.Limit):
		t.Errorf("%v, %+v", err, usage)
	}
}
