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
	return p.startBeside("kube-controller-manager", "--controllers="+strings.Join(controllers, ","))
}

// StartScheduler runs the scheduler beside the API server until stop is called. The program comes from
// `make kube-scheduler`.
func (p *Plane) StartScheduler() (stop func(), err error) { return p.startBeside("kube-scheduler") }

// startBeside runs a client of the API server, which serves nothing itself.
func (p *Plane) startBeside(name string, args ...string) (stop func(), err error) {
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
		Args: append([]string{"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--secure-port=0"}, args...),
		Log:  p.path("log", name+".log"),
		PID:  p.pidFile(name),
	})
	if err != nil {
		return nil, err
	}
	return func() { child.Stop(apiserverGrace) }, nil
}
