package controlplane

import (
	"context"
	"fmt"
)

func (p *Plane) startEtcd(ctx context.Context) error {
	return p.startOn(&p.ports.Etcd, func() error {
		var err error
		if p.etcd, err = p.run("etcd", p.etcdArgs()); err != nil {
			return err
		}
		client, err := p.keys.etcdClient.httpClient(p.keys.etcd)
		if err != nil {
			return err
		}
		return waitReady(ctx, p.etcd, client, p.etcdURL()+"/readyz")
	})
}

func (p *Plane) etcdURL() string { return fmt.Sprintf("https://127.0.0.1:%d", p.ports.Etcd) }

func (p *Plane) etcdArgs() []string {
	// The only member never dials its peer URL, so the URL may be any text. The peer port is any free port.
	const peer = "https://127.0.0.1:2380"
	server, ca := p.keys.etcdServer, p.keys.etcd
	args := []string{
		"--name=acmeca",
		"--data-dir=" + p.path("etcd"),
		"--log-level=warn",
		"--listen-client-urls=" + p.etcdURL(),
		"--advertise-client-urls=" + p.etcdURL(),
		"--client-cert-auth",
		"--trusted-ca-file=" + ca.certFile,
		"--cert-file=" + server.certFile,
		"--key-file=" + server.keyFile,
		"--listen-peer-urls=https://127.0.0.1:0",
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=acmeca=" + peer,
		"--peer-client-cert-auth",
		"--peer-trusted-ca-file=" + ca.certFile,
		"--peer-cert-file=" + server.certFile,
		"--peer-key-file=" + server.keyFile,
	}
	if p.options.UnsafeNoFsync {
		args = append(args, "--unsafe-no-fsync")
	}
	return args
}
