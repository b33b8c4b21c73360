package main

import (
	"context"
	"fmt"

	"github.com/acmeca/acmeca/hack/bench/pods"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/hack/bench/revocation"
	"github.com/acmeca/acmeca/internal/test/local"
)

// measureRevocations measures an acmeca of its own for each number of revoked certificates.
func (b *bench) measureRevocations(ctx context.Context) error {
	b.report.Revocations = nil
	for _, count := range b.options.revocations {
		row, err := b.measureRevocation(ctx, count)
		if err != nil {
			return fmt.Errorf("%d revoked: %w", count, err)
		}
		fmt.Fprintf(b.out, "%d revoked, CRL of %d bytes: %.2f s; controllers %d MB, ACME server %d MB at most\n",
			row.Revoked, row.CRLBytes, row.Seconds, row.ControllersPeak/1e6, row.ServerPeak/1e6)
		b.report.Revocations = append(b.report.Revocations, *row)
	}
	return nil
}

func (b *bench) measureRevocation(ctx context.Context, count int) (*report.Revocation, error) {
	s, err := b.startAcmeca(ctx, oursName+" within the limits of the manifests", local.StartForTestContained)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return revocation.Measure(ctx, s.plane, s.target, count)
}

// measurePods measures an acmeca of its own, with an API server that treats kubelets as such.
func (b *bench) measurePods(ctx context.Context) error {
	s, err := b.startAcmeca(ctx, oursName+" for Pods", local.StartForTestWithKubelets)
	if err != nil {
		return err
	}
	defer s.stop()
	b.report.Pods, err = pods.Measure(ctx, s.plane, b.options.pods)
	return err
}
