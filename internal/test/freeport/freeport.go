// Package freeport finds free ports on loopback for programs that take a port number.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports are below the range for outgoing connections (from 32768 on Linux). An outgoing connection could
// otherwise take a port between its choice and its use.
const (
	first = 20000
	last  = 32000
	tries = 100
)

// Choose sets each pointer to a different port of 127.0.0.1 that is free for TCP and UDP.
func Choose(ports ...*int) error {
	for _, port := range ports {
		tcp, udp, err := listen()
		if err != nil {
			return err
		}
		defer func() { _ = errors.Join(tcp.Close(), udp.Close()) }() // at the end, so that all ports differ
		*port = tcp.Addr().(*net.TCPAddr).Port
	}
	return nil
}

func listen() (tcp net.Listener, udp net.PacketConn, err error) {
	for range tries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first+1)))
		if tcp, err = net.Listen("tcp", address); err != nil {
			continue
		}
		if udp, err = net.ListenPacket("udp", address); err == nil {
			return tcp, udp, nil
		}
		tcp.Close()
	}
	return nil, nil, err
}
