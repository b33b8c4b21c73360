package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

// specVariable passes the spec from create to init.
const specVariable = "ACMECA_NODE_SPEC"

// create starts process 1 of a node and returns when that process is ready.
func create(text string) error {
	var spec nodeapi.Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	// Process 1 is in the cgroups before its cgroup namespace exists, so the namespace starts there.
	for _, procs := range spec.Procs {
		if err := os.WriteFile(procs, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "init")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), specVariable+"="+text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces(spec)}
	ready, signal, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{signal}
	if spec.Listen != "" {
		listener, err := listen(spec.Listen)
		if err != nil {
			return err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, listener)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting a process in namespaces of its own: %w", err)
	}
	signal.Close()
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		return fmt.Errorf("process 1 ended with %q, %w: see %s", line, errors.Join(err, cmd.Wait()), spec.Log)
	}
	fmt.Println(cmd.Process.Pid)
	return nil
}

func namespaces(spec nodeapi.Spec) uintptr {
	if spec.NetworkOnly {
		return syscall.CLONE_NEWNET
	}
	return syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS |
		syscall.CLONE_NEWCGROUP
}

// listen returns a listening socket of the machine's network namespace. The socket stays in that namespace, whichever
// process accepts on it.
func listen(address string) (*os.File, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.(*net.TCPListener).File()
}
