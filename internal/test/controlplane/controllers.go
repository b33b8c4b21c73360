package controlplane

import (
	"strings"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/process"
)

// These are controllers of Kubernetes for StartControllers.
const (
	GarbageCollector    = "garbage-collector-controller"
	NamespaceController = "namespace-controller" // deletes namespaces
)

// StartControllers runs controllers of Kubernetes beside the API server until stop is called. The program comes from
// `make kube-controller-manager`.
func (p *Plane) StartControllers(controllers ...string) (stop func(), err error) {
	const name = "kube-controller-manager"
	program, err := binaries.Path(name)
	if err != nil {
		return nil, err
	}
	kubeconfig := p.path(name + ".kubeconfig")
	if err := p.WriteKubeconfig(kubeconfig); err != nil {
		return nil, err
	}
	child, err := process.Start(process.Spec{
		Name: name,
		Path: program,
		Args: []string{
			"--kubeconfig=" + kubeconfig,
			"--controllers=" + strings.Join(controllers, ","),
			"--leader-elect=false",
			"--secure-port=0", // it serves nothing
		},
		Log: p.path("log", name+".log"),
		PID: p.pidFile(name),
	})
	if err != nil {
		return nil, err
	}
	return func() { child.Stop(apiserverGrace) }, nil
}
