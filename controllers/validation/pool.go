package validation

import (
	"context"
	"slices"
	"sync"
)

// Defaults of PoolConfig.
const (
	DefaultPoolSize          = 256
	DefaultPerAccount        = 32
	DefaultPerTarget         = 8
	DefaultWaitingPerAccount = 10_000
)

// PoolConfig bounds a Pool; zero or less stands for the default.
type PoolConfig struct {
	// Size is how many attempts run at once, PerAccount how many of one account, PerTarget how many at one target.
	// As long as PerAccount is below Size, an account whose names are black holes leaves room for others.
	Size, PerAccount, PerTarget int
	// WaitingPerAccount bounds the attempts of one account that wait for their turn.
	WaitingPerAccount int
}

// Pool runs attempts. Accounts with waiting attempts take turns, whatever the number that each has; within an account
// the first that its target has room for goes first.
type Pool struct {
	limits PoolConfig
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	jobs     map[string]*job
	accounts map[string]*accountQueue
	// turns has the accounts with waiting jobs, the one whose turn is next first.
	turns   []*accountQueue
	targets map[string]int // running, by target
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
	run         func(context.Context) Result
	done        func(Result)
	ctx         context.Context
	cancel      context.CancelFunc
	// forgotten jobs don't report.
	forgotten bool
}

// NewPool makes a pool. Close it after use.
func NewPool(c PoolConfig) *Pool {
	c.Size = positive(c.Size, DefaultPoolSize)
	c.PerAccount = positive(c.PerAccount, DefaultPerAccount)
	c.PerTarget = positive(c.PerTarget, DefaultPerTarget)
	c.WaitingPerAccount = positive(c.WaitingPerAccount, DefaultWaitingPerAccount)
	p := &Pool{limits: c, jobs: map[string]*job{}, accounts: map[string]*accountQueue{}, targets: map[string]int{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func positive(n, standard int) int {
	if n > 0 {
		return n
	}
	return standard
}

// Submit has an attempt run when its turn comes, and its result given to done, which is called once, from another
// goroutine. The key says which attempt it is: while one with that key waits, runs or reports, another is not taken.
//
// It reports whether the pool has an attempt with that key, this one or an earlier one. It has not when the account has
// too many waiting, or the pool is closed.
func (p *Pool) Submit(key, account, target string, run func(context.Context) Result, done func(Result)) bool {
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

// Cancel has the pool forget attempts: each isn't run, or its context ends. Its done isn't called unless that has begun. They go at
// once, so that none begins in the place of another.
func (p *Pool) Cancel(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		j, known := p.jobs[key]
		if !known {
			continue
		}
		j.forgotten = true
		j.cancel()
		delete(p.jobs, key)
		if i := slices.Index(j.account.waiting, j); i >= 0 {
			p.dequeue(j.account, i)
			p.tidy(j.account)
		}
	}
}

// Load says how many attempts run, and how many wait for their turn.
func (p *Pool) Load() (running, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.waiting
}

// Close cancels every attempt and waits until none runs and no done is under way. It must not be called from a done.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, j := range p.jobs {
		j.forgotten = true
	}
	clear(p.jobs)
	p.turns, p.waiting = nil, 0
	p.cancel()
	p.mu.Unlock()
	p.work.Wait()
}

// schedule starts what there is room for. The lock is held.
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

// next takes the job whose turn it is. An account that is skipped, since it has its share or its targets are busy,
// keeps its place in front.
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

// dequeue takes a waiting job out of its account's queue, and the account out of the turns if that was the last one.
func (p *Pool) dequeue(queue *accountQueue, i int) {
	queue.waiting = slices.Delete(queue.waiting, i, i+1)
	p.waiting--
	if len(queue.waiting) == 0 {
		turn := slices.Index(p.turns, queue)
		p.turns = slices.Delete(p.turns, turn, turn+1)
	}
}

// tidy forgets an account that has nothing here.
func (p *Pool) tidy(queue *accountQueue) {
	if queue.running == 0 && len(queue.waiting) == 0 {
		delete(p.accounts, queue.name)
	}
}

// perform gives its place to the next job before it reports, so that a slow done holds up nobody else.
func (p *Pool) perform(j *job) {
	defer j.cancel()
	result := j.run(j.ctx)
	if p.vacate(j) {
		j.done(result)
		p.release(j)
	}
}

func (p *Pool) vacate(j *job) (report bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	j.account.running--
	if p.targets[j.target]--; p.targets[j.target] == 0 {
		delete(p.targets, j.target)
	}
	p.tidy(j.account)
	if !p.closed {
		p.schedule()
	}
	return !j.forgotten
}

// release frees the key, unless it was cancelled while reporting and is another job's by now.
func (p *Pool) release(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs[j.key] == j {
		delete(p.jobs, j.key)
	}
}
