package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// service is the way to the replicas of the ACME server: each connection goes to another one than the one before, and past those
// that refuse it, as those of a Service do once its endpoints have been updated.
type service struct {
	mu       sync.Mutex
	replicas []string // addresses
	next     int
	taken    map[string]int // connections, by address
}

// turn gives all replicas, the one whose turn it is first.
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

// dial is http.Transport's DialContext, for whatever address.
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

// connections says how many each replica has had.
func (s *service) connections() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counts []string
	for _, address := range s.replicas {
		counts = append(counts, fmt.Sprint(s.taken[address]))
	}
	return counts
}
