package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/acmeca/acmeca/acmeserver"
)

// limits bound the load that the ACME server accepts.
type limits struct {
	connections, connectionsPerClient int
	requests, requestsPerClient       int
	bodyBytes                         int64
}

const (
	defaultConnections          = 8192
	defaultConnectionsPerClient = 2048
	// leastBodyBytes lets each client send a request of the largest size.
	leastBodyBytes = 1 << 20
)

func (l *limits) bind(flags *flag.FlagSet) {
	flags.IntVar(&l.connections, "max-connections", defaultConnections, "`number` of open connections to each listener; beyond it, a new connection replaces an idle one")
	flags.IntVar(&l.connectionsPerClient, "max-connections-per-client", defaultConnectionsPerClient, "`number` of open connections from one IPv4 address or IPv6 /64 network; trusted proxies are exempt")
	flags.IntVar(&l.requests, "max-requests", acmeserver.DefaultMaxRequests, "`number` of concurrent requests; further requests are answered with 503")
	flags.IntVar(&l.requestsPerClient, "max-requests-per-client", acmeserver.DefaultMaxRequestsPerClient, "`number` of concurrent requests from one IPv4 address or IPv6 /64 network, also behind trusted proxies")
	flags.Int64Var(&l.bodyBytes, "max-body-bytes", 0, "`bytes` of memory for the bodies of concurrent requests, a quarter of them for one client; further requests are answered with 503; 0 means a sixteenth of the memory limit")
}

func (l *limits) check() error {
	if min(l.connections, l.connectionsPerClient, l.requests, l.requestsPerClient) < 1 {
		return errors.New("--max-connections, --max-requests and their per-client variants must be at least 1")
	}
	if l.bodyBytes < 0 || l.bodyBytes > 0 && l.bodyBytes < leastBodyBytes {
		return fmt.Errorf("--max-body-bytes must be 0, or at least %d", leastBodyBytes)
	}
	return nil
}
