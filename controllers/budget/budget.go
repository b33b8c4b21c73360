// Package budget counts the bytes of the operator's objects in etcd, and compares them with the ceilings of an issuer and of the
// installation.
package budget

import (
	"fmt"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Limits are ceilings in bytes. Zero means no ceiling.
type Limits struct {
	// Issuer is the ceiling of each issuer, and Total that of all issuers together.
	Issuer, Total int64
}

// Level says how full a budget is.
type Level int

// The levels of a budget, by the part of a ceiling that is stored.
const (
	// Within is below nearPercent.
	Within Level = iota
	// Near asks a person to act. Nothing is refused.
	Near
	// Reached means that the ACME server accepts no new accounts, orders and authorizations.
	Reached
	// Exceeded means that the ACME server stores nothing but revocations and deactivations, and that the controllers delete
	// unfinished objects. The ACME server's own refusals keep a budget below, unless the server is captured.
	Exceeded
)

const (
	nearPercent     = 80
	reachedPercent  = 100
	exceededPercent = 110
	// settlePercent is how far the stored bytes fall below the start of a level before the level ends. Otherwise each client
	// at the ceiling would change the issuer's status.
	settlePercent = 3
)

// levelOf returns the level of a number of bytes under a ceiling, which had a level before.
func levelOf(bytes, ceiling int64, before Level) Level {
	if ceiling <= 0 {
		return Within
	}
	at := func(percent int64) Level {
		switch {
		case percent >= exceededPercent:
			return Exceeded
		case percent >= reachedPercent:
			return Reached
		case percent >= nearPercent:
			return Near
		}
		return Within
	}
	percent := percentOf(bytes, ceiling)
	return max(at(percent), min(at(percent+settlePercent), before))
}

func percentOf(bytes, ceiling int64) int64 { return int64(float64(bytes) / float64(ceiling) * 100) }

// Budget counts stored bytes. A nil Budget counts nothing and has no ceilings. Its methods can be called concurrently.
type Budget struct {
	limits Limits

	mu      sync.Mutex
	issuers map[types.NamespacedName]*share
	total   share
	// expected are the bytes of objects that are stored but not counted yet, by an estimate. They count in total alone.
	expected  int64
	uncounted bool
	// changed holds the issuers whose level changed since Changed was called.
	changed    map[types.NamespacedName]struct{}
	allChanged bool
	discarded  map[string]int
}

// share is the stored bytes of an issuer, or of all issuers.
type share struct {
	byKind map[string]int64
	bytes  int64
	level  Level
}

// New returns a Budget without stored bytes.
func New(limits Limits) *Budget {
	return &Budget{
		limits: limits, issuers: map[types.NamespacedName]*share{}, changed: map[types.NamespacedName]struct{}{}, discarded: map[string]int{},
	}
}

// Add adds to the stored bytes of a kind, by issuer. Objects can name issuers that do not exist.
func (b *Budget) Add(kind string, bytes map[types.NamespacedName]int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum int64
	for issuer, n := range bytes {
		sum += n
		of := b.issuers[issuer]
		if of == nil {
			of = &share{byKind: map[string]int64{}}
			b.issuers[issuer] = of
		}
		if of.byKind[kind] += n; of.byKind[kind] == 0 {
			delete(of.byKind, kind)
		}
		before := of.level
		of.bytes += n
		if of.level = levelOf(of.bytes, b.limits.Issuer, before); of.level != before {
			b.changed[issuer] = struct{}{}
		}
		if len(of.byKind) == 0 {
			delete(b.issuers, issuer)
		}
	}
	b.total.bytes += sum
	b.judgeTotal()
}

// Expect sets the bytes of objects that are stored but not counted yet, by an estimate. counted means that none are left.
func (b *Budget) Expect(bytes int64, counted bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.uncounted && counted {
		b.allChanged = true // an issuer may have kept the level that it had before a restart
	}
	b.expected, b.uncounted = bytes, !counted
	b.judgeTotal()
}

// judgeTotal sets the level of all issuers together. Objects are deleted only for bytes that are counted.
func (b *Budget) judgeTotal() {
	before := b.total.level
	b.total.level = max(levelOf(b.total.bytes, b.limits.Total, before),
		min(levelOf(b.total.bytes+b.expected, b.limits.Total, before), Reached))
	b.allChanged = b.allChanged || b.total.level != before
}

// Status is the state of an issuer's budget.
type Status struct {
	Level Level
	// Message says which ceiling is near or reached; "" for none.
	Message string
	// Uncounted means that there are stored objects which are not counted yet, so that Level may be too low.
	Uncounted bool
}

// Status returns the state of an issuer's budget. The ceiling that is filled more counts.
func (b *Budget) Status(namespace, issuer string) Status {
	if b == nil {
		return Status{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.issuers[types.NamespacedName{Namespace: namespace, Name: issuer}]
	if own == nil {
		own = &share{}
	}
	status := Status{Level: max(own.level, b.total.level), Uncounted: b.uncounted}
	switch {
	case status.Level == Within:
	case own.level >= b.total.level:
		status.Message = message("the issuer's objects use", own.bytes, b.limits.Issuer, "--max-stored-bytes-per-issuer")
	default:
		status.Message = message("the objects of all issuers use", b.total.bytes+b.expected, b.limits.Total, "--max-stored-bytes")
	}
	return status
}

func message(who string, bytes, ceiling int64, flag string) string {
	return fmt.Sprintf("%s %d %% of %d MiB, which the controllers' flag %s allows", who, percentOf(bytes, ceiling), ceiling>>20, flag)
}

// Exceeds reports whether the level of an issuer's budget is Exceeded.
func (b *Budget) Exceeds(namespace, issuer string) bool {
	return b.Status(namespace, issuer).Level == Exceeded
}

// Changed returns the issuers whose level has changed since the last call. all is set if the level of all issuers may have.
func (b *Budget) Changed() (issuers []types.NamespacedName, all bool) {
	if b == nil {
		return nil, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for issuer := range b.changed {
		issuers = append(issuers, issuer)
	}
	all, b.allChanged = b.allChanged, false
	clear(b.changed)
	return issuers, all
}

// Discarded counts an unfinished object that was deleted because the budget is exceeded.
func (b *Budget) Discarded(kind string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.discarded[kind]++
}

// Usage is the state of a Budget.
type Usage struct {
	Limits Limits
	// Bytes are the stored bytes by issuer and kind.
	Bytes map[types.NamespacedName]map[string]int64
	// Discarded counts the deleted objects by kind.
	Discarded map[string]int
}

// Usage returns the state of the budget.
func (b *Budget) Usage() Usage {
	if b == nil {
		return Usage{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes := make(map[types.NamespacedName]map[string]int64, len(b.issuers))
	usage := Usage{Limits: b.limits, Bytes: bytes, Discarded: maps.Clone(b.discarded)}
	for issuer, of := range b.issuers {
		usage.Bytes[issuer] = maps.Clone(of.byKind)
	}
	return usage
}
