// Command cluster runs acmeca in a Kubernetes cluster with real nodes on this machine: `make cluster` and `make cluster-down`.
//
// It builds the programs and images, starts the cluster, installs the chart with Helm, applies the sample issuer, and
// obtains a certificate from a Pod. NODES sets the number of nodes. The state is in .local/cluster.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
)

func main() {
	dir := flag.String("dir", "", "the `directory` of the state (default .local/cluster in the source tree)")
	nodes := flag.Int("nodes", 1, "number of nodes")
	down := flag.Bool("down", false, "remove the cluster")
	bare := flag.Bool("bare", false, "start the cluster without acmeca")
	build := flag.Bool("build", false, "only build the programs, with those of the suite test/cluster, if this machine can run a cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, options{*dir, *nodes, *down, *bare, *build}); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

type options struct {
	dir               string
	nodes             int
	down, bare, build bool
}

func run(ctx context.Context, o options) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	if o.dir == "" {
		o.dir = filepath.Join(root, ".local", "cluster")
	}
	if o.down {
		return cluster.Remove(o.dir)
	}
	if err := cluster.Check(); err != nil {
		if o.build {
			fmt.Println(err) // the suite is skipped for this reason
			return nil
		}
		return err
	}
	programs := append(cluster.Programs, "acmeca-client", "kubectl-acme")
	if o.build {
		programs = append(programs, "cert-manager", "trust-manager")
	}
	if err := binaries.Ensure(ctx, os.Stdout, programs...); err != nil || o.build {
		return err
	}
	c, err := cluster.Start(ctx, cluster.Options{Dir: o.dir, Nodes: o.nodes, Progress: os.Stdout})
	if err != nil {
		return err
	}
	if !o.bare {
		if err := install(ctx, c); err != nil {
			return err
		}
	}
	fmt.Printf(next, c.Kubeconfig(), filepath.Join(root, "bin"))
	return nil
}

func install(ctx context.Context, c *cluster.Cluster) error {
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"acmeca's image, loaded", c.BuildImages},
		{"helm install", c.Install},
		{"the sample issuer, Ready", c.CreateIssuer},
		{"a client's namespace", c.PrepareClient},
		{"a certificate from a Pod", func(ctx context.Context) error {
			said, err := c.FirstCertificate(ctx)
			fmt.Print(said)
			return err
		}},
	} {
		if err := c.Phase(ctx, phase.name, phase.do); err != nil {
			return err
		}
	}
	return nil
}

const next = `
The cluster runs until make cluster-down. Next:

  export KUBECONFIG=%s PATH=%s:$PATH
  kubectl get pods -A -o wide
  kubectl get acme -A
  kubectl acme trust -n acmeca-system
  kubectl -n acmeca-system port-forward svc/acmeca 14000:443      # https://127.0.0.1:14000/acme/directory

Names below corp.example resolve to the Service client/client, on whose port 80 a Pod with the label app=client answers challenges.
`
