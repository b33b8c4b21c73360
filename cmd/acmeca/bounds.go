package main

import (
	"errors"
	"flag"

	"github.com/acmeca/acmeca/acmeserver"
)

// bounds are how much the ACME server takes on at once.
type bounds struct {
	connections, connectionsPerClient int
	requests, requestsPerClient       int
}

const (
	defaultConnections          = 8192
	defaultConnectionsPerClient = 2048
)

func (b *bounds) bind(flags *flag.FlagSet) {
	flags.IntVar(&b.connections, "max-connections", defaultConnections, "`number` of connections to a listener at once; beyond it, a new one takes the place of one that is idle")
	flags.IntVar(&b.connectionsPerClient, "max-connections-per-client", defaultConnectionsPerClient, "`number` of connections at once from one IPv4 address or IPv6 network of 64 bits, unless it is a trusted proxy")
	flags.IntVar(&b.requests, "max-requests", acmeserver.DefaultMaxRequests, "`number` of requests at once; others are answered with 503")
	flags.IntVar(&b.requestsPerClient, "max-requests-per-client", acmeserver.DefaultMaxRequestsPerClient, "`number` of requests at once from one IPv4 address or IPv6 network of 64 bits, behind trusted proxies too")
}

func (b *bounds) check() error {
	if min(b.connections, b.connectionsPerClient, b.requests, b.requestsPerClient) < 1 {
		return errors.New("--max-connections, --max-requests and those per client must be at least 1")
	}
	return nil
}
