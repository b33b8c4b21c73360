package local

// ControllerArgs returns the arguments of the controllers as a separate process.
func (l *Local) ControllerArgs(kubeconfig string, health int) []string {
	return append(l.commonArgs("controller", kubeconfig, health), "--server-tls-secret", serverSecret, "--server-name", serverName)
}

// ReplicaArgs returns the arguments of a replica of the ACME server as a separate process.
func (l *Local) ReplicaArgs(kubeconfig string, ports ReplicaPorts) []string {
	return append(l.commonArgs("server", kubeconfig, ports.Health),
		"--listen", address(ports.HTTPS), "--plain-listen", address(ports.HTTP), "--tls-dir", l.TLSDir(),
		"--replica-dir", l.path("replicas"), "--replica-address", "127.0.0.1", "--replica-listen", address(ports.Peers),
		"--replica-linger", replicaLinger.String(), "--shutdown-delay", replicaDelay.String(),
	)
}

func (l *Local) commonArgs(half, kubeconfig string, health int) []string {
	return []string{
		half,
		"--kubeconfig", kubeconfig,
		"--namespace", Namespace,
		"--default-issuer", keyOf(l.issuer),
		"--external-url", l.BaseURL(),
		"--plain-url", "http://" + address(l.options.Ports.HTTP),
		"--health-listen", address(health),
	}
}

// Program returns the path of the operator's program.
func (l *Local) Program() string { return l.options.Operator }

// Path returns the path of a file or directory in the state.
func (l *Local) Path(elements ...string) string { return l.path(elements...) }

// These are names in Namespace: the ServiceAccounts of the two halves, and the Secret that the ACME server's replicas
// share.
const (
	ControllerAccount = controllerAccount
	ServerAccount     = serverAccount
	ReplicaSecret     = replicaSecret
)
