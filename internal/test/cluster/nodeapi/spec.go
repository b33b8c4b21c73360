// Package nodeapi is the protocol between hack/cluster/node and its callers.
package nodeapi

// Socket is the path at which process 1 of a node serves its API, in the node's mount namespace.
const Socket = "/run/acmeca-node.sock"

// A Spec describes a node to `acmeca-node create`.
type Spec struct {
	Hostname string
	// Procs are the cgroup.procs files that the node joins before its namespaces exist.
	Procs []string
	// Cgroups are the hierarchies that the node mounts.
	Cgroups []Hierarchy
	// Resolv is the text of /etc/resolv.conf in the node.
	Resolv string
	// Log receives the output of process 1.
	Log string
	// Listen is an address on the machine's loopback, and Forward the address in the node to which its connections go.
	// Both are empty if nothing is forwarded.
	Listen, Forward string
	// NetworkOnly makes nothing but a network namespace with a process in it.
	NetworkOnly bool
}

// A Hierarchy is a cgroup file system: "cgroup2", or "cgroup" with options such as "cpu,cpuacct".
type Hierarchy struct {
	Name    string // of the directory below /sys/fs/cgroup; empty for cgroup2
	Type    string
	Options string
}

// A Program is started by process 1.
type Program struct {
	Name string
	Args []string // the first is the path of the program
	Log  string
}

// A Status is the state of a program. An absent Status means that the program was never started.
type Status struct {
	Name    string
	PID     int // in the node's PID namespace
	Running bool
	Exit    string // how the program ended
}
