package local

import (
	"fmt"
	"net"
	"strconv"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

// Ports on loopback that acmeca and its surroundings use.
type Ports struct {
	HTTPS            int // the ACME server
	HTTP             int // its plain listener, for CRLs and CA certificates
	ControllerHealth int
	ServerHealth     int
	Metrics          int // of both halves: they are one process
	DNS              int // UDP and TCP
	HTTP01           int // where http-01 challenges are tried
	TLSALPN01        int // where tls-alpn-01 challenges are tried
}

// DefaultPorts are those that the documentation names.
var DefaultPorts = Ports{
	HTTPS: 14000, HTTP: 14080, ControllerHealth: 14081, ServerHealth: 14082, Metrics: 14083, DNS: 14053, HTTP01: 5002, TLSALPN01: 5001,
}

// FreePorts chooses ports that nobody uses now, for tests that run side by side.
func FreePorts() (p Ports, err error) {
	err = freeport.Choose(&p.HTTPS, &p.HTTP, &p.ControllerHealth, &p.ServerHealth, &p.Metrics, &p.DNS, &p.HTTP01, &p.TLSALPN01)
	return p, err
}

// ReplicaPorts are those of a replica of the ACME server.
type ReplicaPorts struct {
	HTTPS, HTTP, Health int
	Peers               int // where other replicas ask about nonces
}

// FreeReplicaPorts chooses ports that nobody uses now.
func FreeReplicaPorts() (p ReplicaPorts, err error) {
	err = freeport.Choose(&p.HTTPS, &p.HTTP, &p.Health, &p.Peers)
	return p, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// checkFree says which of the ports that the operator listens on is taken.
func (p Ports) checkFree() error {
	for _, port := range []int{p.HTTPS, p.HTTP, p.ControllerHealth, p.ServerHealth, p.Metrics} {
		listener, err := net.Listen("tcp", address(port))
		if err != nil {
			return fmt.Errorf("port %d is taken by another program: %w", port, err)
		}
		listener.Close()
	}
	return nil
}
