package local

// ControllerArgs are what the controllers are run with as a process of their own.
func (l *Local) ControllerArgs(kubeconfig string, health int) []string {
	return append(l.commonArgs("controller", kubeconfig, health), "--server-tls-secret", serverSecret)
}

// ServerArgs are what the endpoint is run with as a process of its own.
func (l *Local) ServerArgs(kubeconfig string, health int) []string {
	return append(l.commonArgs("server", kubeconfig, health),
		"--listen", address(l.options.Ports.HTTPS), "--plain-listen", address(l.options.Ports.HTTP), "--tls-dir", l.path("tls"))
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

// Program is the path of the operator's program.
func (l *Local) Program() string { return l.options.Operator }

// Path is that of a file or directory in the state.
func (l *Local) Path(elements ...string) string { return l.path(elements...) }

// ServiceAccounts of the two halves, in Namespace.
const (
	ControllerAccount = controllerAccount
	ServerAccount     = serverAccount
)
