package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestProxy cuts, refuses and delays connections to an echo server.
func TestProxy(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	p, err := newProxy(func() string { return echo.Addr().String() })
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", p.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	say := func(conn net.Conn) error {
		if _, err := conn.Write([]byte("a")); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}
	conn := dial()
	if err := say(conn); err != nil {
		t.Fatal(err)
	}
	const delay = 50 * time.Millisecond
	p.delay.Store(int64(delay))
	began := time.Now()
	if err := say(conn); err != nil || time.Since(began) < 2*delay {
		t.Errorf("delayed for %s, %v", time.Since(began), err)
	}
	p.delay.Store(0)
	p.cut()
	if say(conn) == nil {
		t.Error("a cut connection still works")
	}
	p.closed.Store(true)
	if say(dial()) == nil {
		t.Error("a new connection is accepted while all are refused")
	}
	p.closed.Store(false)
	if err := say(dial()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
