package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"runtime/debug"

	"github.com/acmeca/acmeca/acmeserver"
)

// limits bound the load that the ACME server accepts.
type limits struct {
	connections, connectionsPerClient int
	requests, requestsPerClient       int
	bodyBytes                         int64
}

const (
	// connectionBytes is the share of the memory limit for each connection. An open connection uses up to a third of it.
	connectionBytes = 192 << 10
	// unlimitedConnections is the default without a memory limit, and leastConnections that with a small one.
	unlimitedConnections, leastConnections = 8192, 128
	// leastBodyBytes lets each client send a request of the largest size.
	leastBodyBytes = 1 << 20
)

func (l *limits) bind(flags *flag.FlagSet) {
	flags.IntVar(&l.connections, "max-connections", 0, "`number` of open connections to each listener; beyond it, a new connection replaces an idle one; 0 means one for "+
		"each 192 KiB of the memory limit, or 8192 without a limit")
	flags.IntVar(&l.connectionsPerClient, "max-connections-per-client", 0, "`number` of open connections from one IPv4 address or IPv6 /64 network; trusted proxies are exempt; "+
		"0 means a quarter of --max-connections")
	flags.IntVar(&l.requests, "max-requests", acmeserver.DefaultMaxRequests, "`number` of concurrent requests; further requests are answered with 503")
	flags.IntVar(&l.requestsPerClient, "max-requests-per-client", acmeserver.DefaultMaxRequestsPerClient, "`number` of concurrent requests from one IPv4 address or IPv6 /64 network, also behind trusted proxies")
	flags.Int64Var(&l.bodyBytes, "max-body-bytes", 0, "`bytes` of memory for the bodies of concurrent requests, a quarter of them for one client; further requests are answered with 503; 0 means a sixteenth of the memory limit")
}

func (l *limits) check() error {
	if min(l.connections, l.connectionsPerClient) < 0 || min(l.requests, l.requestsPerClient) < 1 {
		return errors.New("--max-requests and --max-requests-per-client must be at least 1, --max-connections and --max-connections-per-client at least 0")
	}
	if l.connections == 0 {
		l.connections = defaultConnections(debug.SetMemoryLimit(-1))
	}
	if l.connectionsPerClient == 0 {
		l.connectionsPerClient = max(l.connections/4, 1)
	}
	if l.bodyBytes < 0 || l.bodyBytes > 0 && l.bodyBytes < leastBodyBytes {
		return fmt.Errorf("--max-body-bytes must be 0, or at least %d", leastBodyBytes)
	}
	return nil
}

// defaultConnections returns the default of --max-connections under a memory limit of Go's runtime.
func defaultConnections(memory int64) int {
	if memory == math.MaxInt64 {
		return unlimitedConnections
	}
	return int(max(memory/connectionBytes, leastConnections))
}
