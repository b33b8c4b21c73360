package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/acmeca/acmeca/internal/test/cluster/nodeapi"
)

func startSupervisor(t *testing.T) *supervisor {
	t.Helper()
	s := newSupervisor()
	go s.reap()
	return s
}

func TestProgramsStartEndAndStartAgain(t *testing.T) {
	s := startSupervisor(t)
	p := nodeapi.Program{Name: "sleeper", Args: []string{"/bin/sh", "-c", "echo up; exec sleep 100"}, Log: filepath.Join(t.TempDir(), "log")}
	if err := s.end(p.Name, syscall.SIGKILL); err == nil {
		t.Error("a program ended that was never started")
	}
	for range 2 {
		if err := s.start(p); err != nil {
			t.Fatal(err)
		}
		if err := s.start(p); err == nil {
			t.Error("a program was started twice")
		}
		if got := s.list(); len(got) != 1 || !got[0].Running {
			t.Errorf("got %+v", got)
		}
		if err := s.end(p.Name, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if got := s.list(); len(got) != 1 || got[0].Running || got[0].Exit != "killed" {
			t.Errorf("got %+v", got)
		}
	}
	if text, err := os.ReadFile(p.Log); err != nil || strings.Trim(string(text), "up\n") != "" {
		t.Errorf("the log has %q, %v", text, err)
	}
}

func TestForwardConnectsBothWays(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		connection, err := echo.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		var said [5]byte
		if _, err := connection.Read(said[:]); err == nil {
			_, _ = connection.Write([]byte(strings.ToUpper(string(said[:])))) // the test reads it
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go forward(listener, echo.Addr().String())
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var answer [5]byte
	if _, err := connection.Read(answer[:]); err != nil || string(answer[:]) != "HELLO" {
		t.Errorf("got %q, %v", answer, err)
	}
}
