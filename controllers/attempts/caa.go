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
	"github.com/acmeca/acmeca/controllers/validation/pool"
)

// maxCAAAge is how long a check of CAA records counts: 8 hours or the records' TTL, if longer (CA/Browser Forum Baseline Requirements
// section 3.2.2.8). The TTL (RFC 8659 section 7) is not used here.
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
// Every name counts, and a failed lookup forbids: an order gets no certificate if only a part of its names was checked. The state
// may be lost: rounds in flight begin again after a restart.
type CAAChecks struct {
	pool  *pool.Pool
	clock clock.WithDelayedExecution
	wake  chan<- event.GenericEvent

	mu    sync.Mutex
	byKey map[types.NamespacedName]*caaRound
}

// NewCAAChecks returns CAAChecks that send to wake each order whose round has ended.
func NewCAAChecks(pool *pool.Pool, c clock.WithDelayedExecution, wake chan<- event.GenericEvent) *CAAChecks {
	return &CAAChecks{pool: pool, clock: c, wake: wake, byKey: map[types.NamespacedName]*caaRound{}}
}

// caaRound is one check of all names of an order for which a check is due.
type caaRound struct {
	uid    types.UID
	number int // from 1
	names  []acme.Identifier
	// results are in the order of names; pending counts the checks that have not ended.
	results []validation.Result
	pending int
	endedAt time.Time
	// before are the problems of the round before this one.
	before []acme.Problem
}

func (r *caaRound) job(i int) string { return fmt.Sprintf("caa/%s/%d/%d", r.uid, r.number, i) }

// covers reports whether the round is about all the names, and its outcome, if there is one, counts at that time.
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

// requested returns the identifier of a request, with the wildcard.
func requested(request validation.Request) acme.Identifier {
	id := request.Identifier
	if request.Wildcard {
		id.Value = "*." + id.Value
	}
	return id
}

// CAAVerdict is the outcome of the checks of an order's names so far.
type CAAVerdict struct {
	// Permitted is whether CAA permits a certificate for all the names.
	Permitted bool
	// Refused are the problems of the names that CAA forbids or whose records can't be looked up, by the newest round that has
	// ended.
	Refused []acme.Problem
	// Final is whether no further round follows.
	Final bool
	// Running is whether a round is in flight or waits for its time.
	Running bool
}

// Verdict returns the outcome of the checks of the names that are due. Without a final verdict, and with no round running, Start
// begins a round.
func (c *CAAChecks) Verdict(key types.NamespacedName, uid types.UID, due []validation.Request) CAAVerdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch round := c.byKey[key]; {
	case round == nil || !round.covers(uid, due, c.clock.Now()):
		return CAAVerdict{}
	case round.pending > 0:
		return CAAVerdict{Refused: round.before, Running: true}
	default:
		return round.verdict()
	}
}

// Start begins a round of checks of the names that are due, which wakes the order when it ends. Start does nothing if a round is
// running or the verdict is final.
func (c *CAAChecks) Start(
	key types.NamespacedName, uid types.UID, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, due []validation.Request,
) {
	c.mu.Lock()
	defer c.mu.Unlock()
	round := c.byKey[key]
	if round == nil || !round.covers(uid, due, c.clock.Now()) {
		c.forget(round)
		c.start(key, &caaRound{uid: uid, number: 1}, issuer, account, due)
		return
	}
	if round.pending > 0 {
		return
	}
	if verdict := round.verdict(); !verdict.Final {
		c.start(key, &caaRound{uid: uid, number: round.number + 1, before: verdict.Refused}, issuer, account, due)
	}
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

// verdict returns the verdict of a round that has ended. A name without an explicit success is refused.
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

// start begins the first round at once, and each later round after its backoff. The caller holds the lock.
func (c *CAAChecks) start(
	key types.NamespacedName, round *caaRound, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, due []validation.Request,
) {
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
