package attempts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
)

// maxCAAAge is how long a check of CAA records counts: the shortest that a CA may be held to (CA/Browser Forum Baseline
// Requirements section 3.2.2.8), whatever the records' TTL (RFC 8659 section 7).
const maxCAAAge = 8 * time.Hour

// CAADue reports whether CAA must be checked before a certificate is issued on an authorization, also if CAA was not enforced
// when the authorization was validated.
func CAADue(issuer *issuers.Issuer, authz *v1alpha1.AcmeAuthorization, now time.Time) bool {
	if issuer.Spec.Validation.CAA != v1alpha1.CAAEnforce || authz.Spec.Identifier.Type != acme.DNS {
		return false
	}
	c := authz.Status.Challenge
	return c == nil || c.CAACheckedAt == nil || now.Sub(c.CAACheckedAt.Time) > maxCAAAge
}

// CAAChecks checks CAA again before certificates are issued, beside the reconciler of orders, which it wakes when a round ends.
// Every name counts, and a failed lookup forbids: an order whose names were checked only in part gets no certificate. Its state
// may be lost, as that of a Runner.
type CAAChecks struct {
	pool  *validation.Pool
	clock clock.WithDelayedExecution
	wake  chan<- event.GenericEvent

	mu    sync.Mutex
	byKey map[types.NamespacedName]*caaRound
}

// NewCAAChecks returns CAAChecks that send to wake each order whose round has ended.
func NewCAAChecks(pool *validation.Pool, c clock.WithDelayedExecution, wake chan<- event.GenericEvent) *CAAChecks {
	return &CAAChecks{pool: pool, clock: c, wake: wake, byKey: map[types.NamespacedName]*caaRound{}}
}

// caaRound is one check of all names of an order for which a check is due.
type caaRound struct {
	uid    types.UID
	number int // from 1
	names  []acme.Identifier
	// results are those of the names, in their order; pending is how many are still to come.
	results []validation.Result
	pending int
	endedAt time.Time
	// before is what the round before this one refused.
	before []acme.Problem
}

func (r *caaRound) job(i int) string { return fmt.Sprintf("caa/%s/%d/%d", r.uid, r.number, i) }

// covers reports whether the round's outcome, if it has one, counts for the names at that time.
func (r *caaRound) covers(uid types.UID, due []validation.Request, now time.Time) bool {
	if r.uid != uid || r.pending == 0 && now.Sub(r.endedAt) > maxCAAAge {
		return false
	}
	known := map[acme.Identifier]bool{}
	for _, name := range r.names {
		known[name] = true
	}
	for _, request := range due {
		if !known[requested(request)] {
			return false
		}
	}
	return true
}

// requested is the identifier that a request is about, with the wildcard.
func requested(request validation.Request) acme.Identifier {
	id := request.Identifier
	if request.Wildcard {
		id.Value = "*." + id.Value
	}
	return id
}

// CAAVerdict is the outcome of the checks so far.
type CAAVerdict struct {
	// Permitted is whether CAA permits a certificate for all the names. Nothing else says so.
	Permitted bool
	// Refused are the problems of the names that it doesn't permit, or that can't be asked for, by the newest round that has
	// ended.
	Refused []acme.Problem
	// Final is whether no further round is to come.
	Final bool
}

// Check returns the verdict on the names of an order for which checks are due. If there is no final verdict, Check begins a
// round, which wakes the order when it ends.
func (c *CAAChecks) Check(key types.NamespacedName, uid types.UID, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, due []validation.Request) CAAVerdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	round := c.byKey[key]
	if round == nil || !round.covers(uid, due, c.clock.Now()) {
		c.forget(round)
		c.start(key, &caaRound{uid: uid, number: 1}, issuer, account, due)
		return CAAVerdict{}
	}
	if round.pending > 0 {
		return CAAVerdict{Refused: round.before}
	}
	verdict := round.verdict()
	if !verdict.Permitted && !verdict.Final {
		c.start(key, &caaRound{uid: uid, number: round.number + 1, before: verdict.Refused}, issuer, account, due)
	}
	return verdict
}

// Forget drops the state of an order, and cancels its checks in flight.
func (c *CAAChecks) Forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(c.byKey[key])
	delete(c.byKey, key)
}

func (c *CAAChecks) forget(round *caaRound) {
	if round == nil || round.pending == 0 {
		return
	}
	jobs := make([]string, len(round.names))
	for i := range jobs {
		jobs[i] = round.job(i)
	}
	c.pool.Cancel(jobs...)
}

// verdict sums up a round that has ended. A name without an explicit success is refused.
func (r *caaRound) verdict() CAAVerdict {
	v := CAAVerdict{Permitted: true}
	for i, result := range r.results {
		if result.Valid {
			continue
		}
		v.Permitted = false
		v.Final = v.Final || !result.Transient || r.number > len(Backoff)
		problem := *acme.NewProblem(acme.ServerInternal, "the check of CAA records ended without a verdict")
		if result.Problem != nil {
			problem = *result.Problem
		}
		v.Refused = append(v.Refused, *problem.About(r.names[i]))
	}
	v.Final = v.Final || v.Permitted
	return v
}

// start begins a round, at once or after the wait that its number calls for. The lock is held.
func (c *CAAChecks) start(key types.NamespacedName, round *caaRound, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, due []validation.Request) {
	round.results, round.pending = make([]validation.Result, len(due)), len(due)
	for _, request := range due {
		round.names = append(round.names, requested(request))
	}
	c.byKey[key] = round
	submit := func() {
		for i, request := range due {
			run := func(ctx context.Context) validation.Result { return issuer.Validator.CheckCAA(ctx, request) }
			done := func(result validation.Result) { c.finish(key, round, i, result) }
			if !c.current(key, round) {
				return
			}
			if !c.pool.Submit(round.job(i), account.Namespace+"/"+account.Name, request.Identifier.Value, run, done) {
				problem := acme.NewProblem(acme.ServerInternal, "too many validations of this account are waiting")
				done(validation.Result{Problem: problem, Transient: true})
			}
		}
	}
	if round.number == 1 {
		go submit() // takes the lock
		return
	}
	c.clock.AfterFunc(Backoff[min(round.number-2, len(Backoff)-1)], submit)
}

func (c *CAAChecks) current(key types.NamespacedName, round *caaRound) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byKey[key] == round
}

func (c *CAAChecks) finish(key types.NamespacedName, round *caaRound, i int, result validation.Result) {
	c.mu.Lock()
	round.results[i] = result
	round.pending--
	if round.pending == 0 {
		round.endedAt = c.clock.Now()
	}
	ended := round.pending == 0 && c.byKey[key] == round
	c.mu.Unlock()
	if ended {
		order := &v1alpha1.AcmeOrder{}
		order.Namespace, order.Name = key.Namespace, key.Name
		c.wake <- event.GenericEvent{Object: order}
	}
}
