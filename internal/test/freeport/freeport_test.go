package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestPortsAreFreeAndDifferent(t *testing.T) {
	ports := make([]int, 50)
	into := make([]*int, len(ports))
	for i := range ports {
		into[i] = &ports[i]
	}
	if err := Choose(into...); err != nil {
		t.Fatal(err)
	}
	for _, port := range ports {
		if port < first || port > last {
			t.Errorf("%d could be taken by an outgoing connection", port)
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := net.Listen("tcp", address) // fails for a port chosen twice
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		packets, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer packets.Close()
	}
}
