// Package pool runs the attempts of validations beside the reconcilers, fairly between accounts. It is pure, like package validation.
package pool

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/acmeca/acmeca/controllers/validation"
)

// Defaults of Config.
const (
	DefaultSize              = 256
	DefaultPerAccount        = 32
	DefaultPerTarget         = 8
	DefaultWaitingPerAccount = 10_000
)

// Config bounds a Pool; zero or less means the default.
type Config struct {
	// Size bounds the running attempts, PerAccount those of one account, PerTarget those at one target. PerAccount should be
	// below Size: then an account whose names never answer leaves room for others.
	Size, PerAccount, PerTarget int
	// WaitingPerAccount bounds the waiting attempts of one account.
	WaitingPerAccount int
}

// Pool runs attempts. Accounts with waiting attempts take turns, regardless of their number of attempts. Within an account, the
// first attempt whose target has room runs next.
type Pool struct {
	limits Config
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	jobs     map[string]*job
	accounts map[string]*accountQueue
	// turns lists the accounts with waiting jobs in the order of their turns.
	turns   []*accountQueue
	targets map[string]int // running jobs by target
	running int
	waiting int
}

type accountQueue struct {
	name    string
	waiting []*job
	running int
}

// job is one attempt, from Submit until done has returned or it was cancelled.
type job struct {
	key, target string
	account     *accountQueue
	run         func(context.Context) validation.Result
	done        func(validation.Result)
	ctx         context.Context
	cancel      context.CancelFunc
	// cancelled jobs don't report.
	cancelled bool
}

// New returns a Pool. The caller must close it.
func New(c Config) *Pool {
	p := &Pool{
		limits: Config{
			Size: orDefault(c.Size, DefaultSize), PerAccount: orDefault(c.PerAccount, DefaultPerAccount),
			PerTarget: orDefault(c.PerTarget, DefaultPerTarget), WaitingPerAccount: orDefault(c.WaitingPerAccount, DefaultWaitingPerAccount),
		},
		jobs: map[string]*job{}, accounts: map[string]*accountQueue{}, targets: map[string]int{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func orDefault(n, standard int) int { return cmp.Or(max(n, 0), standard) }

// Submit queues an attempt. The pool calls run when the attempt's turn comes, and then done with the result, once, from another
// goroutine. The key identifies the attempt: while an attempt with the key waits, runs or reports, Submit ignores another one.
//
// Submit reports whether the pool has an attempt with the key, this one or an earlier one. It returns false if the account has
// too many waiting attempts or the pool is closed.
func (p *Pool) Submit(key, account, target string, run func(context.Context) validation.Result, done func(validation.Result)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if _, known := p.jobs[key]; known {
		return true
	}
	queue := p.accounts[account]
	if queue == nil {
		queue = &accountQueue{name: account}
		p.accounts[account] = queue
	}
	if len(queue.waiting) >= p.limits.WaitingPerAccount {
		return false
	}
	j := &job{key: key, target: target, account: queue, run: run, done: done}
	j.ctx, j.cancel = context.WithCancel(p.ctx)
	p.jobs[key] = j
	if len(queue.waiting) == 0 {
		p.turns = append(p.turns, queue)
	}
	queue.waiting = append(queue.waiting, j)
	p.waiting++
	p.schedule()
	return true
}

// Cancel removes attempts: waiting ones don't run, and the contexts of running ones end. Their done is not called, unless the
// call has begun. All keys are removed under one lock, so that none of the attempts starts in the slot of another one.
func (p *Pool) Cancel(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		j, known := p.jobs[key]
		if !known {
			continue
		}
		j.cancelled = true
		j.cancel()
		delete(p.jobs, key)
		if i := slices.Index(j.account.waiting, j); i >= 0 {
			p.dequeue(j.account, i)
			p.dropIdle(j.account)
		}
	}
}

// Load returns the numbers of running and waiting attempts.
func (p *Pool) Load() (running, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.waiting
}

// Close cancels every attempt, and waits until each run and done has returned. A done must not call Close.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, j := range p.jobs {
		j.cancelled = true
	}
	clear(p.jobs)
	p.turns, p.waiting = nil, 0
	p.cancel()
	p.mu.Unlock()
	p.work.Wait()
}

// schedule starts waiting jobs while there is room. The caller holds the lock.
func (p *Pool) schedule() {
	for p.running < p.limits.Size {
		j := p.next()
		if j == nil {
			return
		}
		p.running++
		j.account.running++
		p.targets[j.target]++
		p.work.Go(func() { p.perform(j) })
	}
}

// next removes the next job from its queue and returns it, or returns nil if no job may run. An account that is skipped, since
// it has enough running jobs or its targets are busy, keeps its turn.
func (p *Pool) next() *job {
	for _, queue := range p.turns {
		if queue.running >= p.limits.PerAccount {
			continue
		}
		i := slices.IndexFunc(queue.waiting, func(j *job) bool { return p.targets[j.target] < p.limits.PerTarget })
		if i < 0 {
			continue
		}
		j := queue.waiting[i]
		p.dequeue(queue, i)
		if len(queue.waiting) > 0 {
			turn := slices.Index(p.turns, queue)
			p.turns = append(slices.Delete(p.turns, turn, turn+1), queue)
		}
		return j
	}
	return nil
}

// dequeue removes a waiting job from its account's queue, and an account without waiting jobs from the turns.
func (p *Pool) dequeue(queue *accountQueue, i int) {
	queue.waiting = slices.Delete(queue.waiting, i, i+1)
	p.waiting--
	if len(queue.waiting) == 0 {
		turn := slices.Index(p.turns, queue)
		p.turns = slices.Delete(p.turns, turn, turn+1)
	}
}

// dropIdle removes an account without running and waiting jobs.
func (p *Pool) dropIdle(queue *accountQueue) {
	if queue.running == 0 && len(queue.waiting) == 0 {
		delete(p.accounts, queue.name)
	}
}

// perform runs a job. It frees the slot before it reports, so that a slow done delays no other job.
func (p *Pool) perform(j *job) {
	defer j.cancel()
	result := j.run(j.ctx)
	if p.freeSlot(j) {
		j.done(result)
		p.freeKey(j)
	}
}

// freeSlot starts the next job in the slot of one that has run, and returns whether to report its result.
func (p *Pool) freeSlot(j *job) (report bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	j.account.running--
	if p.targets[j.target]--; p.targets[j.target] == 0 {
		delete(p.targets, j.target)
	}
	p.dropIdle(j.account)
	if !p.closed {
		p.schedule()
	}
	return !j.cancelled
}

// freeKey frees the job's key, unless Cancel freed it during the report and another job has it.
func (p *Pool) freeKey(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs[j.key] == j {
		delete(p.jobs, j.key)
	}
}
