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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// shardNamespaces each have an issuer, in addition to the default issuer in the operator's namespace.
var shardNamespaces = []string{"shard-a", "shard-b"}

const shardIssuer = "ca"

// runShards replaces the running controllers by one process for each group of namespaces, and returns the directories
// of the shards' issuers. The first process also watches the operator's namespace.
func (p *plane) runShards(ctx context.Context, namespaces ...[]string) (directories []string, stop func(), err error) {
	p.local.StopOperator()
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
		args := p.local.ControllerArgs(p.local.Path("controller.kubeconfig"), health)
		if i == 0 {
			args = append(args, "--watch-namespaces", strings.Join(append([]string{local.Namespace}, watched...), ","))
		} else { // every process needs a default issuer in its namespaces; these write no certificate for the ACME server
			args = append(args, "--watch-namespaces", strings.Join(watched, ","), "--default-issuer", watched[0]+"/"+shardIssuer,
				"--server-tls-secret", "")
		}
		controllers, err := process.Start(process.Spec{Name: name, Path: p.local.Program(), Args: args,
			Log: filepath.Join(p.local.Path("log"), name+".log")})
		if err != nil {
			return nil, stop, err
		}
		running = append(running, controllers)
	}
	p.shards = running
	for _, namespace := range shardNamespaces {
		directory, err := p.shardDirectory(ctx, namespace)
		if err != nil {
			return nil, stop, err
		}
		directories = append(directories, directory)
	}
	return directories, stop, nil
}

// shardDirectory creates an issuer in a namespace like the default one, waits until it is ready, and returns its
// directory.
func (p *plane) shardDirectory(ctx context.Context, namespace string) (string, error) {
	like := &v1alpha1.AcmeIssuer{}
	if err := p.objects.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, like); err != nil {
		return "", err
	}
	_, err := p.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: shardIssuer}, Spec: like.Spec}
	if err := p.objects.Create(ctx, issuer); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err := p.objects.Get(ctx, client.ObjectKeyFromObject(issuer), issuer); err != nil {
			return "", err
		}
		if meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady) {
			return p.local.BaseURL() + "/" + namespace + "/" + shardIssuer + "/acme/directory", nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("the issuer in %s isn't ready: %v", namespace, issuer.Status.Conditions)
		}
	}
}

// sharded measures the shards' issuers with one process of controllers for both, and with one process for each.
func (b *bench) sharded(ctx context.Context) error {
	for _, namespaces := range [][][]string{{shardNamespaces}, {shardNamespaces[:1], shardNamespaces[1:]}} {
		directories, stop, err := b.plane.runShards(ctx, namespaces...)
		if err != nil {
			return err
		}
		b.target.directories = directories
		err = b.loads(ctx, task{of: fmt.Sprintf("two issuers, controllers: %d", len(namespaces)), clients: 16, names: 1})
		stop()
		b.plane.shards = nil
		b.target.directories = nil
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	return nil
}
