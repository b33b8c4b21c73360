// Package attempts runs validations and CAA checks beside the reconcilers, and triggers a reconcile when a check ends.
package attempts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/metrics"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/pool"
	"github.com/acmeca/acmeca/internal/tracing"
)

// Backoff holds the waits before the second and each later attempt. An attempt is repeated after a transient failure, such as a
// proof that is not visible yet (RFC 8555 section 8.2). Clients wait 30 seconds to two minutes for the outcome.
var Backoff = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// Runner runs attempts at challenges beside the reconciler of authorizations, and triggers a reconcile when an attempt ends. Its
// state is in memory: after a restart, attempts in flight begin again.
type Runner struct {
	pool  *pool.Pool
	clock clock.WithDelayedExecution
	wake  chan<- event.GenericEvent
	// Metrics and Tracer may be nil.
	Metrics *metrics.Metrics
	Tracer  *tracing.Tracer

	mu    sync.Mutex
	byKey map[types.NamespacedName]*attemptState
}

// Attempt is the newest attempt at an authorization. The zero Attempt means that there was none.
type Attempt struct {
	// Number of the attempt, from 1.
	Number int
	// Running is whether the attempt is in flight. Result and Ended are set when it ends.
	Running bool
	Result  validation.Result
	Ended   time.Time
	// CAA is whether the issuer enforced CAA when the attempt began.
	CAA bool
}

// Final reports whether the attempt has ended and is not repeated.
func (a Attempt) Final() bool {
	return a.Number > 0 && !a.Running && (a.Result.Valid || !a.Result.Transient || a.Number > len(Backoff))
}

// attemptKey identifies authorization and account by UID, so that recreated objects do not match.
type attemptKey struct{ authorization, account types.UID }

type attemptState struct {
	attemptKey
	Attempt
}

// job returns the name of the attempt in the pool. Each attempt has its own name, since the next attempt may begin while the last
// one reports.
func (s *attemptState) job() string {
	return fmt.Sprintf("%s/%s/%d", s.authorization, s.account, s.Number)
}

// New returns a Runner that sends to wake each authorization whose attempt has ended.
func New(pool *pool.Pool, c clock.WithDelayedExecution, wake chan<- event.GenericEvent) *Runner {
	return &Runner{pool: pool, clock: c, wake: wake, byKey: map[types.NamespacedName]*attemptState{}}
}

// Newest returns the newest attempt at an authorization of an account.
func (a *Runner) Newest(authz *v1alpha1.AcmeAuthorization, account *v1alpha1.AcmeAccount) Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	state, ok := a.byKey[client.ObjectKeyFromObject(authz)]
	if !ok || state.attemptKey != (attemptKey{authz.UID, account.UID}) {
		return Attempt{}
	}
	return state.Attempt
}

// Forget drops the state of an authorization, and cancels an attempt in flight.
func (a *Runner) Forget(key types.NamespacedName) {
	a.mu.Lock()
	state, ok := a.byKey[key]
	delete(a.byKey, key)
	a.mu.Unlock()
	if ok && state.Running {
		a.pool.Cancel(state.job())
	}
}

// Start begins the attempt that follows the attempt numbered after. Start begins the first attempt if there was none for the
// authorization and account, and does nothing if an attempt is in flight or after is not the newest.
func (a *Runner) Start(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, authz *v1alpha1.AcmeAuthorization, after int) {
	key, of := client.ObjectKeyFromObject(authz), attemptKey{authz.UID, account.UID}
	a.mu.Lock()
	state, ok := a.byKey[key]
	if !ok || state.attemptKey != of {
		state, after = &attemptState{attemptKey: of}, 0
		a.byKey[key] = state
	}
	if state.Running || state.Number != after {
		a.mu.Unlock()
		return
	}
	state.Attempt = Attempt{Number: after + 1, Running: true, CAA: issuer.Spec.Validation.CAA == v1alpha1.CAAEnforce}
	number, job := state.Number, state.job()
	a.mu.Unlock()

	request := issuer.ValidationRequest(account, authz)
	submit := func() {
		if !a.isCurrent(key, state) {
			return
		}
		run := func(ctx context.Context) validation.Result {
			begun := time.Now()
			result := issuer.Validator.Validate(ctx, request)
			if result.Cause != "" {
				logf.FromContext(ctx).Error(errors.New(result.Cause), "the CA failed to validate",
					"namespace", authz.Namespace, "authorization", authz.Name)
			}
			if ctx.Err() == nil {
				ended := time.Now()
				a.Metrics.AttemptEnded(request.Type, result, ended.Sub(begun))
				a.trace(authz, request, result, number, begun, ended)
			}
			return result
		}
		done := func(result validation.Result) { a.finish(key, state, result) }
		if !a.pool.Submit(job, account.Namespace+"/"+account.Name, request.Identifier.Value, run, done) {
			problem := acme.NewProblem(acme.ServerInternal, "too many validations of this account are waiting")
			a.finish(key, state, validation.Result{Problem: problem, Transient: true})
		}
	}
	if number == 1 {
		submit()
		return
	}
	a.clock.AfterFunc(Backoff[min(number-2, len(Backoff)-1)], submit)
}

// trace adds an attempt to the trace of its order.
func (a *Runner) trace(
	authz *v1alpha1.AcmeAuthorization, request validation.Request, result validation.Result, number int, begun, ended time.Time,
) {
	span := a.Tracer.Continue(authz.Annotations, "validate "+string(request.Type), begun)
	if span == nil {
		return
	}
	span.Text("acmeca.authorization", authz.Name)
	span.Text("acmeca.identifier", request.Identifier.Value)
	span.Number("acmeca.attempt", number)
	if result.Problem != nil {
		span.Fail(result.Problem.Error())
	}
	span.End(ended)
}

// isCurrent reports whether state is the newest of its authorization, and was not forgotten.
func (a *Runner) isCurrent(key types.NamespacedName, state *attemptState) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byKey[key] == state
}

// finish keeps the result of an attempt, and triggers a reconcile unless the attempt was forgotten.
func (a *Runner) finish(key types.NamespacedName, state *attemptState, result validation.Result) {
	a.mu.Lock()
	current := a.byKey[key] == state
	state.Running, state.Result, state.Ended = false, result, a.clock.Now()
	a.mu.Unlock()
	if current {
		authz := &v1alpha1.AcmeAuthorization{}
		authz.Namespace, authz.Name = key.Namespace, key.Name
		a.wake <- event.GenericEvent{Object: client.Object(authz)}
	}
}
