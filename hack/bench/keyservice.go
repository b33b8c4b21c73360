package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
	"github.com/acmeca/acmeca/internal/test/softhsm"
)

// keyService is a key store to compare with a key in a Secret.
type keyService struct {
	name    string
	atLeast float64 // the target of the ratio of rates; 0 for none
	start   func(context.Context, local.Built) (socket string, stop func(), err error)
}

var keyServices = []keyService{{"files behind a key service", 0.9, startFiles}, {"SoftHSM", 0, startSoftHSM}}

// measureKeyServices compares a CA whose keys are in a key service with one whose keys are in Secrets. Both are issuers of one acmeca,
// and take turns.
func (b *bench) measureKeyServices(ctx context.Context) error {
	for _, k := range keyServices {
		if err := b.compareKeys(ctx, k); err != nil {
			b.leaveOut(k.name, err)
		}
	}
	return ctx.Err()
}

func (b *bench) compareKeys(ctx context.Context, k keyService) error {
	built, err := b.ours(ctx)
	if err != nil {
		return err
	}
	socket, stop, err := k.start(ctx, built)
	if err != nil {
		return err
	}
	defer stop()
	secret, err := b.startAcmeca(ctx, "Secret", func(ctx context.Context, args ...string) (*local.Local, func(), error) {
		return built.Start(ctx, append(args, "--key-service", socket)...)
	})
	if err != nil {
		return err
	}
	defer secret.stop()
	remote := *secret
	remote.name = k.name
	key := client.ObjectKey{Namespace: local.Namespace, Name: "keys"}
	if remote.target.Directory, err = secret.plane.NewIssuer(ctx, key, func(spec *v1alpha1.AcmeIssuerSpec) {
		spec.CA = v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{KeyStore: v1alpha1.KeyStoreKeyService}}
	}); err != nil {
		return err
	}
	c := newComparison([]*site{secret, &remote})
	tasks := []load.Task{report.One, report.Some}
	if err := b.takeTurns(ctx, c, tasks); err != nil {
		return err
	}
	for _, do := range tasks {
		with, without := c.series(k.name, do, rate), c.series(secret.name, do, rate)
		b.add(report.Row{What: fmt.Sprintf("certificates/s, %d clients, %s / key in a Secret", do.Clients, k.name), AtLeast: k.atLeast,
			Rounds: report.Ratios(with, without), Note: medians(with, without, "/s")})
	}
	return nil
}

// takeTurns drives the tasks at each site in each round.
func (b *bench) takeTurns(ctx context.Context, c *comparison, tasks []load.Task) error {
	for _, s := range c.sites {
		for _, do := range tasks {
			if err := c.begin(ctx, s, do); err != nil {
				return err
			}
		}
	}
	for range b.options.rounds {
		for _, do := range tasks {
			for _, s := range c.sites {
				if err := c.drive(ctx, s, do, b.options.length); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// startFiles starts `acmeca keyservice` with keys in files.
func startFiles(_ context.Context, built local.Built) (socket string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "keys") // short, since the path of a socket is bounded
	if err != nil {
		return "", nil, err
	}
	socket = filepath.Join(dir, "s", "socket")
	service, err := process.Start(process.Spec{Name: "keyservice", Path: built.Operator, Log: filepath.Join(dir, "log"),
		Args: []string{"keyservice", "--socket", socket, "--files", filepath.Join(dir, "keys")}})
	return socket, func() { service.Stop(time.Second); _ = os.RemoveAll(dir) }, err
}

func startSoftHSM(ctx context.Context, _ local.Built) (socket string, stop func(), err error) {
	hsm, err := softhsm.New(ctx)
	if err != nil {
		return "", nil, err
	}
	return hsm.Socket, hsm.Close, nil
}
