package controlplane

import (
	"context"
	"os"
)

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

// BackUpEtcd copies etcd's data to a directory that does not exist yet. etcd stops meanwhile.
func (p *Plane) BackUpEtcd(ctx context.Context, dir string) error {
	p.etcd.Kill()
	if err := os.CopyFS(dir, os.DirFS(p.path("etcd"))); err != nil {
		return err
	}
	return p.startEtcd(ctx)
}

// RestoreEtcd replaces etcd's data by a copy of BackUpEtcd, and restarts etcd and kube-apiserver.
func (p *Plane) RestoreEtcd(ctx context.Context, dir string) error {
	p.apiserver.Kill()
	p.etcd.Kill()
	if err := os.RemoveAll(p.path("etcd")); err != nil {
		return err
	}
	if err := os.CopyFS(p.path("etcd"), os.DirFS(dir)); err != nil {
		return err
	}
	if err := p.startEtcd(ctx); err != nil {
		return err
	}
	return p.startAPIServer(ctx)
}
