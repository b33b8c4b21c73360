package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/test/local"
)

const (
	// measuredCertificates is the number of certificates whose bytes are counted.
	measuredCertificates = 20
	// clockTag builds an operator with a settable clock, and clockFile is the variable that names the clock's file.
	clockTag  = "acmeca_clock"
	clockFile = "ACMECA_CLOCK_FILE"
	// later is when the bytes are counted again.
	later = 25 * time.Hour
	// sweepTimeout bounds the wait for the removal of authorizations, which starts with the controllers.
	sweepTimeout = 30 * time.Second
)

// measureBytes counts the bytes of a certificate in etcd, when issued and a day later, beside the earlier build. The earlier build
// removes nothing in a day.
func (b *bench) measureBytes(ctx context.Context) error {
	old, err := b.earlierBytes(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "acmeca-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory; errors are ignored
	clock := filepath.Join(dir, "clock")
	if err := os.Setenv(clockFile, clock); err != nil {
		return err
	}
	defer func() { _ = os.Unsetenv(clockFile) }() // the name is valid
	s, err := b.startAcmeca(ctx, oursName+" with a settable clock", func(ctx context.Context, args ...string) (*local.Local, func(), error) {
		return local.StartForTestWithTags(ctx, clockTag, args...)
	})
	if err != nil {
		return err
	}
	defer s.stop()
	issued, err := s.issuedBytes(ctx)
	if err != nil {
		return err
	}
	s.plane.Local.StopOperator()
	if err := os.WriteFile(clock, []byte(later.String()), 0o600); err != nil {
		return err
	}
	if err := s.plane.Local.StartOperator(ctx); err != nil {
		return err
	}
	kept, err := s.keptBytes(ctx, issued)
	if err != nil {
		return err
	}
	b.add(bytesRow("when issued", 0.6, total(issued), total(old)), bytesRow("a day later", 0.45, total(kept), total(old)))
	return nil
}

func bytesRow(when string, limit, ours, old float64) report.Row {
	return report.Row{What: "bytes in etcd of a certificate (order and authorization) " + when + " / " + earlierName, AtMost: limit,
		Rounds: []float64{ours / old}, Note: medians([]float64{ours}, []float64{old}, "bytes")}
}

// total returns the bytes of one certificate.
func total(sizes map[string]int) float64 {
	sum := 0
	for _, size := range sizes {
		sum += size
	}
	return float64(sum) / measuredCertificates
}

func (b *bench) earlierBytes(ctx context.Context) (map[string]int, error) {
	s, err := b.startEarlier(ctx, earlierName)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return s.issuedBytes(ctx)
}

// storedKinds are the paths in etcd of the objects of certificates.
var storedKinds = []string{"acmeca.dev/acmeorders/", "acmeca.dev/acmeauthorizations/"}

// issuedBytes issues certificates and returns the sizes of their objects.
func (s *site) issuedBytes(ctx context.Context) (map[string]int, error) {
	session, err := s.begin(ctx, report.One)
	if err != nil {
		return nil, err
	}
	before, err := s.sizes(ctx)
	if err != nil {
		return nil, err
	}
	if err := session.Issue(ctx, measuredCertificates); err != nil {
		return nil, err
	}
	after, err := s.sizes(ctx)
	for path := range before {
		delete(after, path)
	}
	return after, err
}

// sizes returns the bytes of all orders and authorizations.
func (s *site) sizes(ctx context.Context) (map[string]int, error) {
	all := map[string]int{}
	for _, kind := range storedKinds {
		some, err := s.plane.Local.Plane().Sizes(ctx, kind)
		if err != nil {
			return nil, err
		}
		for path, size := range some {
			all[path] = size
		}
	}
	return all, nil
}

// keptBytes returns the sizes of those objects that the controllers keep. It waits until they have removed the authorizations, or
// for a time.
func (s *site) keptBytes(ctx context.Context, issued map[string]int) (map[string]int, error) {
	for deadline := time.Now().Add(sweepTimeout); ; {
		now, err := s.sizes(ctx)
		if err != nil {
			return nil, err
		}
		kept, authorizations := map[string]int{}, 0
		for path := range issued {
			if size, found := now[path]; found {
				kept[path] = size
				if strings.HasPrefix(path, storedKinds[1]) {
					authorizations++
				}
			}
		}
		if authorizations == 0 || time.Now().After(deadline) {
			return kept, nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
