package acmeserver

import (
	"context"
	"time"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/limit"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Rate limits count stored objects, so they hold across all replicas. Objects that another replica has just stored are not counted until
// the watch delivers them, which takes moments. Only registrations that the controllers refused, and deleted, are counted by each replica
// for itself.

// lockTimeout is how long a request waits for others under the same limit.
const lockTimeout = 5 * time.Second

// lockLimit serializes requests under the same limit, from counting to the write. It returns the function that unlocks.
// Without a limit there is nothing to lock. The wait ends with the request.
func (s *Server) lockLimit(ctx context.Context, limit *v1alpha1.RateLimit, key ...string) (unlock func(), err error) {
	if limit == nil {
		return func() {}, nil
	}
	return s.lock(ctx, key...)
}

// lock serializes requests with the same key. It returns the function that unlocks.
func (s *Server) lock(ctx context.Context, key ...string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, ok := s.limitLocks.Lock(ctx, key...)
	if !ok {
		return nil, answer.Overloaded()
	}
	return unlock, nil
}

// wait returns the time until one more event fits under a limit; zero if it fits now.
func (s *Server) wait(l *v1alpha1.RateLimit, past []time.Time) time.Duration {
	return limit.Wait(l.Count, l.Period.Duration, past, s.now())
}

// limitOrders refuses orders and pre-authorizations beyond the issuer's rate limits. If several limits are exceeded, the
// error names the one that takes longest to pass (RFC 8555 section 6.6). Due renewals are exempt from the limit of new orders.
func (s *Server) limitOrders(r *request, isRenewal bool, identifiers ...acme.Identifier) error {
	limits := r.issuer.Spec.RateLimits
	var worst *answer.LimitedProblem
	note := func(p *answer.LimitedProblem) {
		if p.RetryAfter > 0 && (worst == nil || p.RetryAfter > worst.RetryAfter) {
			worst = p
		}
	}
	if limit := limits.NewOrders; limit != nil && !isRenewal {
		made, err := s.store.OrderTimes(r.Context(), r.account, s.now().Add(-limit.Period.Duration))
		if err != nil {
			return err
		}
		note(answer.Limited(s.wait(limit, made), "an account may make %d orders in %s", limit.Count, limit.Period.Duration))
	}
	if limit := limits.FailedValidations; limit != nil {
		for _, id := range identifiers {
			failed, err := s.failureTimes(r, id)
			if err != nil {
				return err
			}
			problem := answer.Limited(s.wait(limit, failed),
				"%d validations of %q failed within %s; fix the cause first", limit.Count, id.Value, limit.Period.Duration)
			problem.Problem = problem.About(id)
			note(problem)
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// failureTimes returns when the account's validations of an identifier failed.
func (s *Server) failureTimes(r *request, id acme.Identifier) ([]time.Time, error) {
	done, err := s.store.StartList(r.Context())
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := s.store.AuthorizationsFor(r.Context(), r.account, id)
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

// origin returns the address that is stored in a new account, or "" if the issuer does not limit accounts by address.
func (s *Server) origin(r *request) string {
	if r.issuer.Spec.RateLimits.NewAccounts == nil {
		return ""
	}
	return s.clientOf(r.Request)
}

// limitAccounts refuses accounts from an address beyond the issuer's rate limit. A registration counts, whether the controllers
// accepted or refused it.
func (s *Server) limitAccounts(r *request, origin string) error {
	limit := r.issuer.Spec.RateLimits.NewAccounts
	if limit == nil {
		return nil
	}
	done, err := s.store.StartList(r.Context())
	if err != nil {
		return err
	}
	defer done()
	accounts, err := s.store.AccountsFrom(r.Context(), r.issuer.Key, origin)
	if err != nil {
		return err
	}
	var made []time.Time
	counted := map[string]bool{}
	for _, account := range accounts {
		counted[string(account.UID)] = true
		made = append(made, account.CreationTimestamp.Time)
	}
	for _, attempt := range s.registrations.Of(registrationKey(r, origin)) {
		if !counted[attempt.ID] {
			made = append(made, attempt.Time)
		}
	}
	if after := s.wait(limit, made); after > 0 {
		return answer.Limited(after, "%d accounts may be registered from one address in %s", limit.Count, limit.Period.Duration)
	}
	return nil
}

// noteRegistration remembers an account that was stored, since the controllers delete it if they refuse it.
func (s *Server) noteRegistration(r *request, origin string, account *v1alpha1.AcmeAccount) {
	if l := r.issuer.Spec.RateLimits.NewAccounts; l != nil {
		s.registrations.Add(registrationKey(r, origin), limit.Attempt{ID: string(account.UID), Time: s.now()}, l.Count)
	}
}

// registrationKey is the key of registrations for an issuer and an address. No part contains a space.
func registrationKey(r *request, origin string) string { return r.issuer.Key.String() + " " + origin }

// limitKeyChanges refuses a change to another key beyond the issuer's limits: each leaves a claim for the life of the account
// (docs/decisions/0060). A change to a key that the account has claimed before leaves none.
func (s *Server) limitKeyChanges(r *request, claim string) error {
	claims, err := s.store.KeyClaims(r.Context(), r.account)
	if err != nil {
		return err
	}
	var made []time.Time
	for _, known := range claims {
		if known.Name == claim {
			return nil
		}
		made = append(made, known.CreationTimestamp.Time)
	}
	if most := r.issuer.Spec.Account.MaxKeyChanges; most > 0 && len(claims) >= most {
		return acme.NewProblem(acme.Unauthorized, "the account has changed its key %d times, and may not change it again; register a new account", len(claims))
	}
	if limit := r.issuer.Spec.RateLimits.KeyChanges; limit != nil {
		if after := s.wait(limit, made); after > 0 {
			return answer.Limited(after, "an account may change its key %d times in %s", limit.Count, limit.Period.Duration)
		}
	}
	return nil
}

// limitRevocations refuses revocations beyond the issuer's rate limit, by the account that ordered the certificate.
func (s *Server) limitRevocations(r *request, order *v1alpha1.AcmeOrder) error {
	limit := r.issuer.Spec.RateLimits.Revocations
	if limit == nil || order.RevocationPending() {
		return nil
	}
	revoked, err := s.store.Revocations(r.Context(), order.Namespace, order.Spec.AccountRef.Name)
	if err != nil {
		return err
	}
	var made []time.Time
	for _, other := range revoked {
		at := s.now() // one that is not carried out yet
		if other.Status.RevokedAt != nil {
			at = other.Status.RevokedAt.Time
		}
		made = append(made, at)
	}
	if after := s.wait(limit, made); after > 0 {
		return answer.Limited(after, "%d certificates of an account may be revoked in %s", limit.Count, limit.Period.Duration)
	}
	return nil
}
