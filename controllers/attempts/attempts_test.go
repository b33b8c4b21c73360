package attempts

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/pool"
)

// checks is a Checker that returns a test's results.
type checks func(context.Context, validation.Request) validation.Result

func (c checks) Validate(ctx context.Context, r validation.Request) validation.Result {
	return c(ctx, r)
}
func (c checks) CheckCAA(ctx context.Context, r validation.Request) validation.Result {
	return c(ctx, r)
}

// Results of checks.
var (
	valid   = validation.Result{Valid: true}
	refused = validation.Result{Problem: acme.NewProblem(acme.IncorrectResponse, "wrong")}
	busy    = validation.Result{Problem: acme.NewProblem(acme.Connection, "timed out"), Transient: true}
)

// bench has a Runner and CAAChecks in a synctest bubble with its own time.
type bench struct {
	*Runner
	caa  *CAAChecks
	woke chan event.GenericEvent
}

func newBench(t *testing.T, c pool.Config) *bench {
	pool := pool.New(c)
	t.Cleanup(pool.Close)
	b := &bench{woke: make(chan event.GenericEvent, 1000)}
	b.Runner = New(pool, clock.RealClock{}, b.woke)
	b.caa = NewCAAChecks(pool, clock.RealClock{}, b.woke)
	return b
}

// woken waits, and returns the names of the objects that are reconciled.
func (b *bench) woken(wait time.Duration) []string {
	time.Sleep(wait)
	synctest.Wait()
	var names []string
	for len(b.woke) > 0 {
		names = append(names, (<-b.woke).Object.GetName())
	}
	slices.Sort(names)
	return names
}

func pendingAuthorization(account, name string) (*v1alpha1.AcmeAccount, *v1alpha1.AcmeAuthorization) {
	owner := &v1alpha1.AcmeAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: account, UID: types.UID("uid-" + account)}}
	owner.Status.Thumbprint = "thumbprint"
	authz := &v1alpha1.AcmeAuthorization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}}
	authz.Spec.Identifier = v1alpha1.Identifier{Type: acme.DNS, Value: name + ".test"}
	authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.DNS01, Token: "another"}, {Type: acme.HTTP01, Token: "token"}}
	authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01}
	return owner, authz
}

// start begins the attempt after the newest one.
func (b *bench) start(issuer *issuers.Issuer, account, name string) {
	owner, authz := pendingAuthorization(account, name)
	b.Start(issuer, owner, authz, b.Newest(authz, owner).Number)
}

// newest returns the newest attempt, and whether it has ended.
func (b *bench) newest(account, name string) (Attempt, bool) {
	owner, authz := pendingAuthorization(account, name)
	attempt := b.Newest(authz, owner)
	return attempt, attempt.Number > 0 && !attempt.Running
}

func TestAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{})
		var asked validation.Request
		issuer := &issuers.Issuer{
			Bases: []acme.Base{"https://ca.test", "https://ca.test/ns/issuer"},
			Validator: checks(func(_ context.Context, r validation.Request) validation.Result {
				asked = r
				time.Sleep(time.Second)
				return valid
			}),
		}
		b.start(issuer, "acct", "a")
		b.start(issuer, "acct", "a") // begins no second attempt while one is in flight
		if _, ok := b.newest("acct", "a"); ok {
			t.Error("an attempt in flight has a result")
		}
		if got := b.woken(time.Second); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("woke %v", got)
		}
		attempt, ok := b.newest("acct", "a")
		if !ok || !attempt.Final() || !attempt.Result.Valid || attempt.Number != 1 {
			t.Errorf("got %+v, %v", attempt, ok)
		}
		if !attempt.Ended.Equal(time.Now()) {
			t.Errorf("it ended at %v", attempt.Ended)
		}
		owner, authz := pendingAuthorization("acct", "a")
		b.Start(issuer, owner, authz, 0) // as from a stale fact
		if attempt, ok := b.newest("acct", "a"); !ok || attempt.Number != 1 {
			t.Errorf("an ended attempt is begun again: %+v", attempt)
		}
		authz.UID = "another"
		if attempt := b.Newest(authz, owner); attempt.Number != 0 {
			t.Error("another authorization of the same name has the result")
		}
		owner, authz = pendingAuthorization("acct", "a")
		owner.UID = "another"
		if attempt := b.Newest(authz, owner); attempt.Number != 0 {
			t.Error("another account of the same name has the result")
		}
		if asked.Token != "token" || asked.Thumbprint != "thumbprint" || asked.Type != acme.HTTP01 || asked.Identifier.Value != "a.test" ||
			!slices.Equal(asked.AccountURIs, []string{"https://ca.test/acme/acct/acct", "https://ca.test/ns/issuer/acme/acct/acct"}) {
			t.Errorf("asked for %+v", asked)
		}
		b.Start(issuer, owner, authz, attempt.Number) // for an account that was created again
		if attempt := b.Newest(authz, owner); attempt.Number != 1 || !attempt.Running {
			t.Errorf("another account's first attempt is %+v", attempt)
		}
	})
}

// A transient failure is shown and retried after increasing waits. A definite failure ends the attempts at once.
func TestAttemptsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{})
		begun := time.Now()
		var at []time.Duration
		result := busy
		issuer := &issuers.Issuer{Validator: checks(func(context.Context, validation.Request) validation.Result {
			at = append(at, time.Since(begun))
			return result
		})}
		b.start(issuer, "acct", "a")
		for number := 1; ; number++ {
			if got := b.woken(time.Minute); !slices.Equal(got, []string{"a"}) {
				t.Fatalf("attempt %d woke %v", number, got)
			}
			attempt, ok := b.newest("acct", "a")
			if !ok || attempt.Number != number || attempt.Result.Problem == nil {
				t.Fatalf("attempt %d: %+v, %v", number, attempt, ok)
			}
			if attempt.Final() {
				break
			}
			begun = time.Now()
			b.start(issuer, "acct", "a")
		}
		if want := append([]time.Duration{0}, Backoff...); !slices.Equal(at, want) {
			t.Errorf("attempts after %v, want %v", at, want)
		}

		result = refused
		b.start(issuer, "acct", "b")
		b.woken(time.Minute)
		if attempt, ok := b.newest("acct", "b"); !ok || !attempt.Final() || attempt.Number != 1 {
			t.Errorf("a definite failure: %+v, %v", attempt, ok)
		}
	})
}

// A proof that becomes visible some seconds after the client's response counts: the failures before it are transient (RFC 8555
// section 8.2).
func TestALateProofCounts(t *testing.T) {
	for name, early := range map[string]*acme.Problem{
		"status 404":    acme.NewProblem(acme.Unauthorized, "answered with HTTP status 404"),
		"NXDOMAIN":      acme.NewProblem(acme.DNSProblem, "doesn't exist"),
		"no TXT record": acme.NewProblem(acme.Unauthorized, "has no TXT record"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pool.Config{})
				visible := time.Now().Add(10 * time.Second)
				issuer := &issuers.Issuer{Validator: checks(func(context.Context, validation.Request) validation.Result {
					if time.Now().Before(visible) {
						return validation.Result{Problem: early, Transient: true}
					}
					return valid
				})}
				for attempt := (Attempt{}); !attempt.Final(); attempt, _ = b.newest("acct", "a") {
					b.start(issuer, "acct", "a")
					for len(b.woken(time.Second)) == 0 {
						if time.Since(visible) > 10*time.Second {
							t.Fatalf("no more attempts after %+v", attempt)
						}
					}
				}
				if attempt, _ := b.newest("acct", "a"); !attempt.Result.Valid || attempt.Number <= 2 {
					t.Errorf("got %+v", attempt)
				}
			})
		})
	}
}

// Forget cancels an attempt that is queued, in flight, or waits for its retry, and triggers no reconcile.
func TestAttemptsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{Size: 1})
		ran := map[string]int{}
		issuer := &issuers.Issuer{Validator: checks(func(ctx context.Context, r validation.Request) validation.Result {
			ran[r.Identifier.Value]++
			if r.Identifier.Value == "backs-off.test" {
				return busy
			}
			<-ctx.Done()
			return busy
		})}
		b.start(issuer, "acct", "backs-off")
		b.woken(0)
		b.start(issuer, "acct", "backs-off")
		b.start(issuer, "acct", "runs")
		b.start(issuer, "acct", "waits")
		synctest.Wait()
		for _, name := range []string{"waits", "runs", "backs-off"} {
			b.Forget(types.NamespacedName{Namespace: "ns", Name: name})
		}
		if got := b.woken(time.Hour); got != nil {
			t.Errorf("woke %v", got)
		}
		if fmt.Sprint(ran) != "map[backs-off.test:1 runs.test:1]" {
			t.Errorf("ran %v", ran)
		}
		// After a restart, attempts begin again.
		b.start(issuer, "acct", "backs-off")
		b.woken(0)
		if attempt, ok := b.newest("acct", "backs-off"); !ok || attempt.Number != 1 {
			t.Errorf("got %+v, %v", attempt, ok)
		}
	})
}

// An account's attempts that time out, and their retries, don't delay the attempts of another account.
func TestAttemptsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{Size: 8, PerAccount: 4})
		issuer := &issuers.Issuer{Validator: checks(func(_ context.Context, r validation.Request) validation.Result {
			if r.Identifier.Value[0] == 'g' {
				return valid
			}
			time.Sleep(10 * time.Second)
			return busy
		})}
		for i := range 200 {
			b.start(issuer, "bad", fmt.Sprint("hole-", i))
		}
		for i := range 100 {
			begun := time.Now()
			name := fmt.Sprint("good-", i)
			b.start(issuer, "good", name)
			if got := b.woken(0); !slices.Contains(got, name) {
				t.Fatalf("%s has not ended: woke %v", name, got)
			}
			if attempt, ok := b.newest("good", name); !ok || !attempt.Result.Valid || time.Since(begun) > 0 {
				t.Fatalf("got %+v, %v after %v", attempt, ok, time.Since(begun))
			}
			for _, name := range b.woken(time.Second) {
				b.start(issuer, "bad", name)
			}
		}
	})
}

// An attempt beyond the bound of its account fails transiently.
func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{Size: 1, PerAccount: 1, WaitingPerAccount: 1})
		issuer := &issuers.Issuer{Validator: checks(func(context.Context, validation.Request) validation.Result {
			time.Sleep(time.Minute)
			return valid
		})}
		for i := range 3 {
			b.start(issuer, "acct", fmt.Sprint(i))
		}
		if got := b.woken(0); !slices.Equal(got, []string{"2"}) {
			t.Fatalf("woke %v", got)
		}
		attempt, ok := b.newest("acct", "2")
		if !ok || attempt.Final() || attempt.Result.Valid || attempt.Result.Problem.Type != acme.ServerInternal {
			t.Errorf("got %+v, %v", attempt, ok)
		}
	})
}
