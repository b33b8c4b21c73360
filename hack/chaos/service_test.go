package main

import (
	"net"
	"slices"
	"testing"
)

func TestServiceTakesTurnsAndPassesWhatRefuses(t *testing.T) {
	s := &service{taken: map[string]int{}}
	var listeners []net.Listener
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		listeners = append(listeners, listener)
		s.replicas = append(s.replicas, listener.Addr().String())
	}
	dial := func() {
		t.Helper()
		conn, err := s.dial(t.Context(), "tcp", "name:443")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	for range 6 {
		dial()
	}
	if got := s.connections(); !slices.Equal(got, []string{"2", "2", "2"}) {
		t.Errorf("connections: %v", got)
	}
	_ = listeners[1].Close()
	for range 6 {
		dial()
	}
	if got := s.connections(); got[1] != "2" || got[0] == "2" || got[2] == "2" {
		t.Errorf("connections after one has ended: %v", got)
	}
}
