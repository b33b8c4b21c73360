package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// service balances between the replicas of the ACME server, as a Service does: each connection goes to the next
// replica, and skips replicas that refuse it.
type service struct {
	mu       sync.Mutex
	replicas []string // addresses
	next     int
	taken    map[string]int // number of connections, by address
}

// turn returns all replicas, the next one first.
func (s *service) turn() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	var all []string
	for i := range s.replicas {
		all = append(all, s.replicas[(s.next+i)%len(s.replicas)])
	}
	return all
}

// dial implements http.Transport's DialContext and ignores the address.
func (s *service) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	err := errors.New("there are no replicas")
	for _, address := range s.turn() {
		var conn net.Conn
		if conn, err = (&net.Dialer{}).DialContext(ctx, network, address); err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.taken[address]++
			return conn, nil
		}
	}
	return nil, err
}

// connections returns the number of connections of each replica.
func (s *service) connections() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counts []string
	for _, address := range s.replicas {
		counts = append(counts, fmt.Sprint(s.taken[address]))
	}
	return counts
}
