package controlplane

import (
	"context"
	"fmt"
)

func (p *Plane) startAPIServer(ctx context.Context) error {
	return p.startOn(&p.ports.APIServer, func() error {
		var err error
		if p.apiserver, err = p.run("kube-apiserver", p.apiserverArgs()); err != nil {
			return err
		}
		client, err := p.keys.admin.httpClient(p.keys.cluster)
		if err != nil {
			return err
		}
		return waitReady(ctx, p.apiserver, client, p.URL()+"/readyz")
	})
}

func (p *Plane) apiserverArgs() []string {
	k := p.keys
	args := []string{
		"--bind-address=127.0.0.1",
		// Without this flag kube-apiserver searches for a default route, and a machine off the network has none.
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", p.ports.APIServer),
		"--tls-cert-file=" + k.apiserver.certFile,
		"--tls-private-key-file=" + k.apiserver.keyFile,
		"--client-ca-file=" + k.cluster.certFile,
		"--etcd-servers=" + p.etcdURL(),
		"--etcd-cafile=" + k.etcd.certFile,
		"--etcd-certfile=" + k.etcdClient.certFile,
		"--etcd-keyfile=" + k.etcdClient.keyFile,
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + k.serviceAccounts,
		"--service-account-signing-key-file=" + k.serviceAccounts,
		"--service-cluster-ip-range=10.0.0.0/24",
		// The Service "kubernetes" cannot have endpoints on loopback, and nothing here routes to Services.
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}
	return append(args, p.options.APIServerArgs...)
}
