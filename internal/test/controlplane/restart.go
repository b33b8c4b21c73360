package controlplane

import "context"

// RestartEtcd kills etcd, as a crash does, and restarts it with its data.
func (p *Plane) RestartEtcd(ctx context.Context) error {
	p.etcd.Kill()
	return p.startEtcd(ctx)
}

// RestartAPIServer kills kube-apiserver, as a crash does, and restarts it.
func (p *Plane) RestartAPIServer(ctx context.Context) error {
	p.apiserver.Kill()
	return p.startAPIServer(ctx)
}
