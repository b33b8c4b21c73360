package local

import (
	"fmt"
	"net"
	"strconv"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

// Ports are the ports on loopback that acmeca and its surroundings use.
type Ports struct {
	HTTPS            int // the ACME server
	HTTP             int // the ACME server's plain listener, for CRLs and CA certificates
	ControllerHealth int
	ServerHealth     int
	Metrics          int // of both halves, which share a process
	DNS              int // UDP and TCP
	HTTP01           int // target of http-01 challenges
	TLSALPN01        int // target of tls-alpn-01 challenges
}

// DefaultPorts are the ports that the documentation names.
var DefaultPorts = Ports{
	HTTPS: 14000, HTTP: 14080, ControllerHealth: 14081, ServerHealth: 14082, Metrics: 14083, DNS: 14053, HTTP01: 5002, TLSALPN01: 5001,
}

// FreePorts chooses free ports, for tests that run in parallel.
func FreePorts() (p Ports, err error) {
	err = freeport.Choose(&p.HTTPS, &p.HTTP, &p.ControllerHealth, &p.ServerHealth, &p.Metrics, &p.DNS, &p.HTTP01, &p.TLSALPN01)
	return p, err
}

// ReplicaPorts are the ports of a replica of the ACME server.
type ReplicaPorts struct {
	HTTPS, HTTP, Health int
	Peers               int // other replicas ask about nonces here
}

// FreeReplicaPorts chooses free ports for a replica.
func FreeReplicaPorts() (p ReplicaPorts, err error) {
	err = freeport.Choose(&p.HTTPS, &p.HTTP, &p.Health, &p.Peers)
	return p, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// checkFree returns an error that names a port of the operator that is in use.
func (p Ports) checkFree() error {
	for _, port := range []int{p.HTTPS, p.HTTP, p.ControllerHealth, p.ServerHealth, p.Metrics} {
		listener, err := net.Listen("tcp", address(port))
		if err != nil {
			return fmt.Errorf("port %d is used by another program: %w", port, err)
		}
		listener.Close()
	}
	return nil
}
