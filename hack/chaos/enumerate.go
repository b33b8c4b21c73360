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

// The enumeration fails each write of a CA's life cycle once in each mode. A client retries, as clients do, until it
// has its certificate.

// workers is the number of scripts that run in parallel, each against its own operator.
const workers = 6

// worker is an operator, and the history of all scripts that ran on it.
type worker struct {
	*inprocess.Operator
	world    *inprocess.World
	injector *inject.Injector
	history  *history.History
	clients  int
	// rotations counts the rotations of the operator's CA. The number of replaced CAs is bounded.
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
	if w.unwatch, err = w.history.Observe(ctx, world.Plane, operator.Namespace); err != nil {
		operator.Stop()
		return nil, err
	}
	return w, nil
}

// shortLived sets short lifetimes of the issuer's certificates and orders.
func shortLived(spec *v1alpha1.AcmeIssuerSpec) {
	hour := metav1.Duration{Duration: time.Hour}
	spec.Profiles = []v1alpha1.Profile{{Name: "default", Lifetime: hour}}
	spec.Lifetimes = v1alpha1.Lifetimes{Order: hour, PendingAuthorization: hour, Authorization: hour}
	spec.Retention.Orders, spec.Retention.Authorizations = metav1.Duration{Duration: time.Minute}, metav1.Duration{Duration: time.Minute}
}

// crash ends a half as kill -9 does, and restarts it.
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

// finish waits until the operator is idle, and checks the history.
func (w *worker) finish(ctx context.Context) []history.Violation {
	w.injector.Arm(inject.Point{}, "")
	w.crashes.Wait()
	err := w.Await(ctx, "the operator to be idle",
		func(ctx context.Context) (bool, error) { return w.history.Settled(ctx, w.world.Admin, w.Namespace) })
	violations := w.history.Check()
	if err != nil && len(violations) == 0 {
		violations = append(violations, history.Violation{Fault: history.Broken, What: err.Error()})
	}
	w.unwatch()
	w.Stop()
	return violations
}

// client returns a client that retries until it has its certificate.
func (w *worker) client() *acmeclient.Client {
	w.clients++
	transport := w.Transport()
	transport.DisableKeepAlives = true // requests on a connection that the server has closed are no fault of interest
	h := &http.Client{Timeout: 20 * time.Second, Transport: w.history.Listen(fmt.Sprintf("%s/client-%d", w.Namespace, w.clients), transport)}
	return acmeclient.NewPersistent(h, w.world.Responder, 5*time.Millisecond)
}

// A script is a use of a CA from beginning to end.
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

// lifeOfAnAccount does everything that a client can do.
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

// afterAll is the time after which all certificates and orders have expired and may be removed.
const afterAll = 3 * time.Hour

// rotationAndRetention rotates the CA's key between two certificates, and then removes expired objects.
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
		// The sweep starts with the process. An interrupted sweep is resumed after ten minutes, or by the next
		// process.
		if err := w.Controllers.Restart(); err != nil {
			return err
		}
		sweep, cancel := context.WithTimeout(ctx, sweepTimeout)
		err := w.Await(sweep, "expired objects to be removed", w.cleared)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

const sweepTimeout = 5 * time.Second

// cleared reports whether all objects of clients are removed.
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

// listed waits until the CRLs list the revoked certificates. An expired certificate no longer needs a CRL.
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

// job is a fault to try.
type job struct {
	script script
	at     inject.Point
	mode   inject.Mode
	// lagging is the half whose watches lag during the fault, if any.
	lagging string
	tries   int
}

// lag is the delay of lagging watches.
const lag = 150 * time.Millisecond

// enumerate fails every write in every mode. If the time does not suffice for all, the seed selects some.
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

// maxTries is the number of tries of a fault. The write may not happen, because concurrent work decides which writes
// there are.
const maxTries = 4

// backlog holds the jobs to try.
type backlog struct {
	mu   sync.Mutex
	jobs []job
	end  time.Time
}

// next returns a job, or false if there is none left or no time.
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

// again puts a job whose write did not happen back at the end.
func (b *backlog) again(j job) {
	if j.tries == maxTries {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs = append(b.jobs, j)
}

// plan runs each script once without a fault, each on its own operator, and records the writes.
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
			// A restarted half learns late about its own earlier writes.
			for _, half := range []string{w.Controllers.Name, w.Server.Name} {
				jobs = append(jobs, job{script: s, at: point, mode: inject.CrashAfter, lagging: half})
			}
		}
	}
	return jobs, nil
}

// patience bounds a script with one fault.
const patience = 2 * time.Minute

func (j job) late() string {
	if j.lagging == "" {
		return ""
	}
	return ", and the watches of the " + j.lagging + " lag"
}

// maxRotations is the number of rotations of an operator's CA. The controllers refuse further rotations once 16 old
// CAs are kept.
const maxRotations = 12

// work runs jobs on its own operator, and checks the history at the end.
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
		// Some writes happen only in the first life of an operator, such as that of the first CRL.
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
			r.violated(history.Violation{Fault: history.Broken,
				What: fmt.Sprintf("%s: where %s (number %d) %s%s: %v", j.script.name, j.at.Call, j.at.Nth, j.mode, j.late(), err)})
		}
	}
	r.add(w, w.finish(ctx))
	return nil
}
