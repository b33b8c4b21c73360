package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/chaos/history"
	"github.com/acmeca/acmeca/hack/chaos/inject"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/inprocess"
)

// The enumeration has each single write of what a CA does fail once in each way, and has a client go on as clients do until
// it has what it wants.

// workers run scripts side by side, each against an operator of its own.
const workers = 6

// worker is an operator, and the history of all that was run on it.
type worker struct {
	*inprocess.Operator
	world    *inprocess.World
	injector *inject.Injector
	history  *history.History
	clients  int
	// rotations of its CA: there can't be any number of CAs that were replaced.
	rotations int
	unwatch   func()
	crashes   sync.WaitGroup
}

func newWorker(ctx context.Context, world *inprocess.World) (*worker, error) {
	w := &worker{world: world, history: &history.History{}}
	w.injector = &inject.Injector{Crash: w.crash}
	operator, err := world.NewOperator(ctx, inprocess.Options{Issued: w.history.Audited, Edit: shortLived})
	if err != nil {
		return nil, err
	}
	w.Operator = operator
	for _, half := range []*inprocess.Half{operator.Controllers, operator.Server} {
		half.Intercept(w.injector.Intercept(half.Name)) //nolint:bodyclose // there is no response yet
	}
	if w.unwatch, err = w.history.Observe(ctx, world.Admin, operator.Namespace); err != nil {
		operator.Stop()
		return nil, err
	}
	return w, nil
}

// shortLived is an issuer whose certificates and orders are soon over.
func shortLived(spec *v1alpha1.AcmeIssuerSpec) {
	hour := metav1.Duration{Duration: time.Hour}
	spec.Profiles = []v1alpha1.Profile{{Name: "default", Lifetime: hour}}
	spec.Lifetimes = v1alpha1.Lifetimes{Order: hour, PendingAuthorization: hour, Authorization: hour}
	spec.Retention.Orders = metav1.Duration{Duration: time.Minute}
}

// crash ends a half as kill -9 does, and starts it again.
func (w *worker) crash(half string) {
	w.crashes.Add(1)
	defer w.crashes.Done()
	h := w.Controllers
	if half == w.Server.Name {
		h = w.Server
	}
	if err := h.Restart(); err != nil {
		w.history.Gap(err.Error())
	}
}

// finish has the operator come to rest, and checks.
func (w *worker) finish(ctx context.Context) []history.Violation {
	w.injector.Arm(inject.Point{}, "")
	w.crashes.Wait()
	err := w.Await(ctx, "all to come to rest", func(ctx context.Context) (bool, error) { return w.history.Settled(ctx, w.world.Admin, w.Namespace) })
	violations := w.history.Check()
	if err != nil && len(violations) == 0 {
		violations = append(violations, history.Violation{Fault: history.Broken, What: err.Error()})
	}
	w.unwatch()
	w.Stop()
	return violations
}

// client is one that goes on until it has what it wants.
func (w *worker) client() *acmeclient.Client {
	w.clients++
	transport := w.Transport()
	transport.DisableKeepAlives = true // a request on a connection that the server has just ended is no fault of interest
	h := &http.Client{Timeout: 20 * time.Second, Transport: w.history.Listen(fmt.Sprintf("%s/client-%d", w.Namespace, w.clients), transport)}
	return acmeclient.NewPersistent(h, w.world.Responder, 5*time.Millisecond)
}

// A script is something that a CA is for, from its beginning to its end.
type script struct {
	name string
	run  func(context.Context, *worker) error
}

var scripts = []script{{"issuance, revocation, account", lifeOfAnAccount}, {"rotation, retention", rotationAndRetention}}

var names struct {
	sync.Mutex
	last int
}

func freshName() string {
	names.Lock()
	defer names.Unlock()
	names.last++
	return fmt.Sprintf("n%d.chaos.test", names.last)
}

// lifeOfAnAccount is all that a client can do.
func lifeOfAnAccount(ctx context.Context, w *worker) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := w.client()
	var certificate []byte
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"registering", func() error { return c.Register(ctx, w.DirectoryURL()) }},
		{"a certificate", func() (err error) { certificate, err = c.Issue(ctx, key, freshName()); return err }},
		{"another contact", func() error { return c.Update(ctx, map[string]any{"contact": []string{"mailto:a@chaos.test"}}) }},
		{"another key", func() error { return c.ChangeKey(ctx) }},
		{"a certificate of two names", func() error { _, err := c.Issue(ctx, key, freshName(), freshName()); return err }},
		{"a revocation", func() error { return c.Revoke(ctx, certificate) }},
		{"an order that is left", func() error { _, err := c.NewOrder(ctx, freshName()); return err }},
		{"deactivating", func() error { return c.Deactivate(ctx) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// afterAll is when all that was issued is over and may be removed.
const afterAll = 3 * time.Hour

// rotationAndRetention has the CA's key replaced between two certificates, and what is over removed.
func rotationAndRetention(ctx context.Context, w *worker) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := w.client()
	if err := c.Register(ctx, w.DirectoryURL()); err != nil {
		return err
	}
	certificate, err := c.Issue(ctx, key, freshName())
	if err != nil {
		return err
	}
	if err := w.rotate(ctx); err != nil {
		return fmt.Errorf("rotation: %w", err)
	}
	if err := c.Revoke(ctx, certificate); err != nil {
		return fmt.Errorf("revoking what the old key signed: %w", err)
	}
	if _, err := c.Issue(ctx, key, freshName()); err != nil {
		return err
	}
	if err := c.Deactivate(ctx); err != nil {
		return err
	}
	if err := w.listed(ctx); err != nil {
		return err
	}
	w.Clock.Jump(afterAll)
	defer w.Clock.Jump(-afterAll)
	for {
		// The clearing away begins with the process. One that is cut short is taken up after ten minutes, or by the next.
		if err := w.Controllers.Restart(); err != nil {
			return err
		}
		sweep, cancel := context.WithTimeout(ctx, sweepTimeout)
		err := w.Await(sweep, "what is over to be removed", w.cleared)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

const sweepTimeout = 5 * time.Second

// cleared reports whether nothing is left of what clients made.
func (w *worker) cleared(ctx context.Context) (bool, error) {
	for _, list := range []client.ObjectList{&v1alpha1.AcmeOrderList{}, &v1alpha1.AcmeAuthorizationList{}} {
		if err := w.world.Admin.List(ctx, list, client.InNamespace(w.Namespace)); err != nil {
			return false, err
		}
		if left := meta.LenList(list); left > 0 {
			return false, fmt.Errorf("%d of %T are left", left, list)
		}
	}
	return true, nil
}

// listed waits for the CRLs to have what was revoked: once it is expired, it needs no CRL any more.
func (w *worker) listed(ctx context.Context) error {
	return w.Await(ctx, "the CRL", func(context.Context) (bool, error) { return w.history.Listed(), nil })
}

// rotate replaces the intermediate.
func (w *worker) rotate(ctx context.Context) error {
	w.rotations++
	before, err := w.Issuer(ctx)
	if err != nil {
		return err
	}
	changed := before.DeepCopy()
	if changed.Annotations == nil {
		changed.Annotations = map[string]string{}
	}
	changed.Annotations["acmeca.dev/rotate-intermediate"] = time.Now().Format(time.RFC3339Nano)
	if err := w.world.Admin.Patch(ctx, changed, client.MergeFrom(before)); err != nil {
		return err
	}
	return w.Await(ctx, "the next intermediate", func(ctx context.Context) (bool, error) {
		now, err := w.Issuer(ctx)
		return err == nil && now.Status.IssuingCertificate != nil && before.Status.IssuingCertificate != nil &&
			now.Status.IssuingCertificate.Chain != before.Status.IssuingCertificate.Chain, err
	})
}

// job is a fault to be tried.
type job struct {
	script script
	at     inject.Point
	mode   inject.Mode
	// lagging is the half whose watches lag meanwhile, if any.
	lagging string
	tries   int
}

// lag is by how much.
const lag = 150 * time.Millisecond

// enumerate has every write fail in every mode. Where there isn't the time for all, it is a choice of them that the seed
// makes.
func enumerate(ctx context.Context, world *inprocess.World, o options, random *mathrand.Rand, r *report, out io.Writer) error {
	jobs, err := plan(ctx, world, r)
	if err != nil {
		return err
	}
	atRest := runtime.NumGoroutine()
	random.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	r.enumerable = len(jobs)
	b := &backlog{jobs: jobs, end: time.Now().Add(o.enumerate)}
	var all sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		all.Go(func() { errs[i] = work(ctx, world, b, r) })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for tick := time.NewTicker(progressEvery); ; {
		select {
		case <-tick.C:
			fmt.Fprintf(out, "%s: %d of %d faults have happened\n", time.Since(b.end.Add(-o.enumerate)).Round(time.Second), r.happened(), len(jobs))
			continue
		case <-done:
			tick.Stop()
		}
		break
	}
	checkLeaks(atRest, r)
	return errors.Join(append(errs, ctx.Err())...)
}

const progressEvery = 30 * time.Second

// maxTries is how often a fault is tried. Its write may not come: which ones there are depends on who is quicker.
const maxTries = 4

// backlog is what is to be tried.
type backlog struct {
	mu   sync.Mutex
	jobs []job
	end  time.Time
}

// next gives a job, or none where there is none left, or no time.
func (b *backlog) next() (job, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.jobs) == 0 || time.Now().After(b.end) {
		return job{}, false
	}
	j := b.jobs[0]
	b.jobs = b.jobs[1:]
	j.tries++
	return j, true
}

// again puts back a job whose write didn't come, to be tried after all others.
func (b *backlog) again(j job) {
	if j.tries == maxTries {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs = append(b.jobs, j)
}

// plan runs each script once without a fault, each on an operator of its own, and notes the writes.
func plan(ctx context.Context, world *inprocess.World, r *report) ([]job, error) {
	var jobs []job
	for _, s := range scripts {
		w, err := newWorker(ctx, world)
		if err != nil {
			return nil, err
		}
		w.injector.Arm(inject.Point{}, "")
		if err := s.run(ctx, w); err != nil {
			w.finish(ctx)
			return nil, fmt.Errorf("%s, without a fault: %w", s.name, err)
		}
		points, _ := w.injector.Seen()
		r.add(w, w.finish(ctx))
		r.points += len(points)
		for _, point := range points {
			for _, mode := range inject.Modes {
				if mode.Applies(point.Call) {
					jobs = append(jobs, job{script: s, at: point, mode: mode})
				}
			}
			// Who starts again, and then learns late of what it wrote before.
			for _, half := range []string{w.Controllers.Name, w.Server.Name} {
				jobs = append(jobs, job{script: s, at: point, mode: inject.CrashAfter, lagging: half})
			}
		}
	}
	return jobs, nil
}

// patience bounds a script under one fault.
const patience = 2 * time.Minute

func (j job) late() string {
	if j.lagging == "" {
		return ""
	}
	return ", and the watches of the " + j.lagging + " lag"
}

// maxRotations is how often an operator's CA is replaced; it is replaced no more once 16 old ones are kept.
const maxRotations = 12

// work runs jobs on an operator of its own, and checks at the end.
func work(ctx context.Context, world *inprocess.World, b *backlog, r *report) error {
	w, err := newWorker(ctx, world)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		j, ok := b.next()
		if !ok {
			break
		}
		// Some writes come in the first life of an operator alone, such as that of the first CRL.
		if w.rotations >= maxRotations || j.tries > 1 {
			r.add(w, w.finish(ctx))
			if w, err = newWorker(ctx, world); err != nil {
				return err
			}
		}
		w.injector.Lag(j.lagging, lag)
		w.injector.Arm(j.at, j.mode)
		bounded, cancel := context.WithTimeout(ctx, patience)
		err := j.script.run(bounded, w)
		cancel()
		w.crashes.Wait()
		w.injector.Lag(j.lagging, 0)
		_, happened := w.injector.Seen()
		r.tried(j, happened)
		if !happened {
			b.again(j)
		}
		if err != nil {
			r.violated(history.Violation{Fault: history.Broken, What: fmt.Sprintf("%s: where %s (number %d) %s%s: %v", j.script.name, j.at.Call, j.at.Nth, j.mode, j.late(), err)})
		}
	}
	r.add(w, w.finish(ctx))
	return nil
}
