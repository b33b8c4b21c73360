package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/hack/bench/acmeca"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// shardNamespaces each have an issuer, in addition to the default issuer in the operator's namespace.
var shardNamespaces = []string{"shard-a", "shard-b"}

const shardIssuer = "ca"

// runShards replaces the running controllers by one process for each group of namespaces, and returns the directories
// of the shards' issuers. The first process also watches the operator's namespace.
func runShards(ctx context.Context, p *acmeca.Plane, namespaces ...[]string) (directories []string, stop func(), err error) {
	p.Local.StopOperator()
	var running []*process.Process
	stop = func() {
		for _, controllers := range running {
			controllers.Stop(10 * time.Second)
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	for i, watched := range namespaces {
		var health int
		if err := freeport.Choose(&health); err != nil {
			return nil, stop, err
		}
		name := fmt.Sprintf("controllers-%d", i)
		args := p.Local.ControllerArgs(p.Local.Path("controller.kubeconfig"), health)
		if i == 0 {
			args = append(args, "--watch-namespaces", strings.Join(append([]string{local.Namespace}, watched...), ","))
		} else { // every process needs a default issuer in its namespaces; these write no certificate for the ACME server
			args = append(args, "--watch-namespaces", strings.Join(watched, ","), "--default-issuer", watched[0]+"/"+shardIssuer,
				"--server-tls-secret", "")
		}
		controllers, err := process.Start(process.Spec{Name: name, Path: p.Local.Program(), Args: args,
			Log: filepath.Join(p.Local.Path("log"), name+".log")})
		if err != nil {
			return nil, stop, err
		}
		running = append(running, controllers)
	}
	p.Shards = running
	for _, namespace := range shardNamespaces {
		directory, err := shardDirectory(ctx, p, namespace)
		if err != nil {
			return nil, stop, err
		}
		directories = append(directories, directory)
	}
	return directories, stop, nil
}

// shardDirectory creates a namespace with an issuer, unless they exist, and returns the issuer's directory.
func shardDirectory(ctx context.Context, p *acmeca.Plane, namespace string) (string, error) {
	_, err := p.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	return p.NewIssuer(ctx, client.ObjectKey{Namespace: namespace, Name: shardIssuer}, nil)
}

// sharded measures the shards' issuers with one process of controllers for both, and with one process for each.
func (b *bench) sharded(ctx context.Context, s *site) error {
	for _, namespaces := range [][][]string{{shardNamespaces}, {shardNamespaces[:1], shardNamespaces[1:]}} {
		directories, stop, err := runShards(ctx, s.plane, namespaces...)
		if err != nil {
			return err
		}
		s.target.Directories = directories
		err = b.loads(ctx, s, load.Task{Of: fmt.Sprintf("two issuers, controllers: %d", len(namespaces)), Clients: 16, Names: 1})
		stop()
		s.plane.Shards, s.target.Directories = nil, nil
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	return nil
}
