package acmeserver

import (
	"hash/fnv"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Rate limits count what is stored, in the cache: they need no state of their own, and hold for all replicas together, but for
// what another replica has stored and the cache doesn't show yet, which it does within moments.

// turns has requests that count for the same limit come one after the other, from the count to the object that counts next:
// of many at once no more get through than the limit has room for.
type turns struct {
	locks [64]sync.Mutex
}

// take waits for the turn of whoever is counted by key, and gives what ends it. Without a limit nobody waits.
func (t *turns) take(limit *v1alpha1.RateLimit, key ...string) (end func()) {
	if limit == nil {
		return func() {}
	}
	sum := fnv.New32a()
	for _, part := range key {
		sum.Write([]byte(part + " ")) // a hash takes everything
	}
	lock := &t.locks[sum.Sum32()%uint32(len(t.locks))]
	lock.Lock()
	return lock.Unlock
}

// limitedProblem is a problem that time solves.
type limitedProblem struct {
	*acme.Problem
	retryAfter time.Duration
}

func (p *limitedProblem) Unwrap() error { return p.Problem }

// wait is how long it takes until one more fits under a limit, given when those were made that count; zero where it fits
// now.
func wait(limit *v1alpha1.RateLimit, made []time.Time, now time.Time) time.Duration {
	period := limit.Period.Duration
	made = slices.DeleteFunc(made, func(t time.Time) bool { return now.Sub(t) >= period })
	if len(made) < limit.Count {
		return 0
	}
	slices.SortFunc(made, time.Time.Compare)
	return made[len(made)-limit.Count].Add(period).Sub(now)
}

func limited(after time.Duration, format string, args ...any) *limitedProblem {
	return &limitedProblem{acme.NewProblem(acme.RateLimited, format, args...).WithStatus(http.StatusTooManyRequests), after}
}

// limitOrders keeps an account from ordering, or pre-authorizing, more than the issuer allows. Where several limits are
// exceeded, it names the one that lasts longest (RFC 8555 section 6.6).
func (s *Server) limitOrders(r *signed, renewal bool, identifiers ...acme.Identifier) error {
	limits := r.issuer.spec.RateLimits
	var worst *limitedProblem
	note := func(p *limitedProblem) {
		if p.retryAfter > 0 && (worst == nil || p.retryAfter > worst.retryAfter) {
			worst = p
		}
	}
	if limit := limits.NewOrders; limit != nil && !renewal {
		made, err := s.ordersMade(r)
		if err != nil {
			return err
		}
		note(limited(wait(limit, made, s.now()), "an account may make %d orders in %s", limit.Count, limit.Period.Duration))
	}
	if limit := limits.FailedValidations; limit != nil {
		for _, id := range identifiers {
			failed, err := s.failures(r, id)
			if err != nil {
				return err
			}
			problem := limited(wait(limit, failed, s.now()), "%d validations of %q failed within %s; see to the cause first", limit.Count, id.Value, limit.Period.Duration)
			problem.Problem = problem.About(id)
			note(problem)
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// ordersMade is when the account made its orders and pre-authorizations.
func (s *Server) ordersMade(r *signed) ([]time.Time, error) {
	orders, err := s.orders.List(r.Context(), ordersByAccount, r.issuer.key.Namespace, r.account.Name)
	if err != nil {
		return nil, err
	}
	authorizations, err := s.authorizations.List(r.Context(), preAuthorizationsByAccount, r.issuer.key.Namespace, r.account.Name)
	if err != nil {
		return nil, err
	}
	made := make([]time.Time, 0, len(orders)+len(authorizations))
	for _, order := range orders {
		if order.Spec.Replaces == "" {
			made = append(made, order.CreationTimestamp.Time)
		}
	}
	for _, authz := range authorizations {
		made = append(made, authz.CreationTimestamp.Time)
	}
	return made, nil
}

// failures is when the account's validations of an identifier failed.
func (s *Server) failures(r *signed, id acme.Identifier) ([]time.Time, error) {
	found, err := s.authorizations.List(r.Context(), authorizationsByName, r.issuer.key.Namespace, accountAndIdentifier(r.account.Name, id))
	if err != nil {
		return nil, err
	}
	var failed []time.Time
	for _, authz := range found {
		tried := authz.Status.Challenge
		if authz.Status.State != acme.StateInvalid || tried == nil || tried.State != acme.StateInvalid {
			continue
		}
		at := authz.CreationTimestamp.Time
		if tried.Record != nil && tried.Record.Time != nil {
			at = tried.Record.Time.Time
		}
		failed = append(failed, at)
	}
	return failed, nil
}

// origin is what a new account is to remember of where it was registered from: nothing where accounts aren't limited by that.
func (s *Server) origin(r *signed) string {
	if r.issuer.spec.RateLimits.NewAccounts == nil {
		return ""
	}
	return originOf(clientAddress(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), s.trustedProxies))
}

// limitAccounts keeps an address from registering more accounts than the issuer allows.
func (s *Server) limitAccounts(r *signed, origin string) error {
	limit := r.issuer.spec.RateLimits.NewAccounts
	if limit == nil {
		return nil
	}
	accounts, err := s.accounts.List(r.Context(), accountsByOrigin, r.issuer.key.Namespace, issuerAndOrigin(r.issuer.key.Name, origin))
	if err != nil {
		return err
	}
	made := make([]time.Time, len(accounts))
	for i, account := range accounts {
		made[i] = account.CreationTimestamp.Time
	}
	if after := wait(limit, made, s.now()); after > 0 {
		return limited(after, "%d accounts may be registered from one address in %s", limit.Count, limit.Period.Duration)
	}
	return nil
}
