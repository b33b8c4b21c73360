package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// plane watches what a control plane and an operator do for a load.
type plane struct {
	config   *rest.Config
	client   *kubernetes.Clientset
	operator int // process id
}

// usage is what was used since a moment.
type usage struct {
	writes, reads float64
	cpu           time.Duration
}

func newPlane(config *rest.Config, operator int) (*plane, error) {
	client, err := kubernetes.NewForConfig(config)
	return &plane{config: config, client: client, operator: operator}, err
}

// measure begins to count; the result counts up to when it is called.
func (p *plane) measure(ctx context.Context) func() (usage, error) {
	before, beforeErr := p.total(ctx)
	return func() (usage, error) {
		after, err := p.total(ctx)
		if beforeErr != nil {
			err = beforeErr
		}
		return usage{after.writes - before.writes, after.reads - before.reads, after.cpu - before.cpu}, err
	}
}

// total reads the API server's own counters of requests for our kinds and the operator's processor time.
func (p *plane) total(ctx context.Context) (usage, error) {
	var u usage
	text, err := p.client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_request_total{") || !strings.Contains(line, `group="acmeca.dev"`) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
		if err != nil {
			return u, err
		}
		switch {
		case strings.Contains(line, `verb="WATCH"`):
		case strings.Contains(line, `verb="GET"`), strings.Contains(line, `verb="LIST"`):
			u.reads += value
		default:
			u.writes += value
		}
	}
	u.cpu, err = processorTime(p.operator)
	return u, err
}

// clockTick is what /proc counts in (sysconf(_SC_CLK_TCK), 100 on every Linux that Go runs on).
const clockTick = 10 * time.Millisecond

func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick, err
}

// rawRate is how many authorizations a second so many writers can store, and do nothing else: what bounds all.
func (p *plane) rawRate(ctx context.Context, writers int, length time.Duration) (float64, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return 0, err
	}
	config := rest.CopyConfig(p.config)
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return 0, err
	}
	var written atomic.Int64
	var failed atomic.Value
	var work sync.WaitGroup
	start := time.Now()
	for writer := range writers {
		work.Go(func() {
			for i := 0; time.Since(start) < length; i++ {
				authz := &v1alpha1.AcmeAuthorization{
					// Of an issuer that doesn't exist, so that no controller takes it up.
					ObjectMeta: metav1.ObjectMeta{Namespace: "acmeca-system", Name: fmt.Sprintf("raw-%d-%d-%d", start.UnixNano(), writer, i)},
					Spec: v1alpha1.AcmeAuthorizationSpec{
						IssuerRef: v1alpha1.ObjectRef{Name: "raw"}, AccountRef: v1alpha1.ObjectRef{Name: "raw"},
						Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "raw.bench.test"},
						Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("t", 43)}},
					},
				}
				if err := c.Create(ctx, authz); err != nil {
					failed.Store(err)
					return
				}
				written.Add(1)
			}
		})
	}
	work.Wait()
	if err, ok := failed.Load().(error); ok {
		return 0, err
	}
	return float64(written.Load()) / time.Since(start).Seconds(), nil
}
