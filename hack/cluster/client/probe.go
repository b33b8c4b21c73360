package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// probeTimeout is the time in which an address answers that is not blocked.
const probeTimeout = 3 * time.Second

// probe prints "ADDRESS open", "ADDRESS refused", or "ADDRESS blocked" for each address.
func probe(addresses []string) {
	results := make([]string, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() { results[i] = try(address) })
	}
	all.Wait()
	for i, address := range addresses {
		fmt.Println(address, results[i])
	}
}

func try(address string) string {
	connection, err := net.DialTimeout("tcp", address, probeTimeout)
	if err == nil {
		_ = connection.Close() // it is open, which is all
		return "open"
	}
	if errors.Is(err, syscall.ECONNREFUSED) { // also what kube-router answers in place of a blocked Pod
		return "refused"
	}
	return "blocked"
}
