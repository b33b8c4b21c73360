package attempts

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/pool"
)

func TestCAADue(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-d)} }
	enforce := &issuers.Issuer{Spec: v1alpha1.AcmeIssuerSpec{Validation: v1alpha1.Validation{CAA: v1alpha1.CAAEnforce}}}
	off := &issuers.Issuer{Spec: v1alpha1.AcmeIssuerSpec{Validation: v1alpha1.Validation{CAA: v1alpha1.CAAOff}}}
	for name, c := range map[string]struct {
		issuer  *issuers.Issuer
		kind    acme.IdentifierType
		checked *v1alpha1.ChallengeStatus
		want    bool
	}{
		"new":                        {enforce, acme.DNS, &v1alpha1.ChallengeStatus{CAACheckedAt: ago(time.Minute)}, false},
		"eight hours old":            {enforce, acme.DNS, &v1alpha1.ChallengeStatus{CAACheckedAt: ago(8 * time.Hour)}, false},
		"older":                      {enforce, acme.DNS, &v1alpha1.ChallengeStatus{CAACheckedAt: ago(8*time.Hour + time.Second)}, true},
		"validated while it was off": {enforce, acme.DNS, &v1alpha1.ChallengeStatus{ValidatedAt: ago(time.Minute)}, true},
		"without a challenge":        {enforce, acme.DNS, nil, true},
		"an address":                 {enforce, acme.IP, nil, false},
		"off":                        {off, acme.DNS, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			authz := &v1alpha1.AcmeAuthorization{}
			authz.Spec.Identifier.Type, authz.Status.Challenge = c.kind, c.checked
			if got := CAADue(c.issuer, authz, now); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// orderKey is the order whose names are checked.
var orderKey = types.NamespacedName{Namespace: "ns", Name: "order"}

func (b *bench) check(issuer *issuers.Issuer, names ...string) CAAVerdict {
	var due []validation.Request
	for _, name := range names {
		due = append(due, validation.Request{Identifier: acme.Identifier{Type: acme.DNS, Value: name}, Type: acme.DNS01})
	}
	account, _ := pendingAuthorization("acct", "x")
	return b.checkDue("uid", issuer, account, due)
}

// checkDue returns the verdict, and starts a round if the verdict asks for one, as the controller of orders does.
func (b *bench) checkDue(uid types.UID, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, due []validation.Request) CAAVerdict {
	verdict := b.caa.Verdict(orderKey, uid, due)
	if !verdict.Permitted && !verdict.Final && !verdict.Running {
		b.caa.Start(orderKey, uid, issuer, account, due)
	}
	return verdict
}

// caaIssuer answers by name, and counts the questions.
func caaIssuer(answers map[string]validation.Result) (*issuers.Issuer, map[string]int) {
	asked := map[string]int{}
	var mu sync.Mutex
	return &issuers.Issuer{Validator: checks(func(_ context.Context, r validation.Request) validation.Result {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Identifier.Value]++
		return answers[r.Identifier.Value]
	})}, asked
}

func TestCAAPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{Size: 1})
		issuer, asked := caaIssuer(map[string]validation.Result{"a.test": valid, "b.test": valid, "c.test": valid})
		if got := b.check(issuer, "a.test", "b.test"); got.Permitted || got.Final {
			t.Fatalf("before anyone was asked: %+v", got)
		}
		if got := b.woken(0); !slices.Equal(got, []string{"order"}) {
			t.Fatalf("woke %v", got)
		}
		for range 3 { // the outcome stays, for an order whose certificate can't be made just now
			if got := b.check(issuer, "a.test", "b.test"); !got.Permitted || !got.Final || got.Refused != nil {
				t.Fatalf("got %+v", got)
			}
		}
		if got := b.check(issuer, "b.test"); !got.Permitted {
			t.Errorf("for one of the names: %+v", got)
		}
		if fmt.Sprint(asked) != "map[a.test:1 b.test:1]" {
			t.Errorf("asked %v", asked)
		}
		if got := b.check(issuer, "a.test", "c.test"); got.Permitted {
			t.Errorf("for a name that wasn't checked: %+v", got)
		}
		b.woken(0)
		if got := b.check(issuer, "a.test", "c.test"); !got.Permitted {
			t.Errorf("got %+v", got)
		}
		time.Sleep(maxCAAAge + time.Second)
		if got := b.check(issuer, "a.test", "c.test"); got.Permitted {
			t.Errorf("after the time of the check: %+v", got)
		}
	})
}

// SECURITY.md row 14: one name of many is enough to forbid it, for whatever reason it wasn't permitted.
func TestCAARefuses(t *testing.T) {
	forbidden := validation.Result{Problem: acme.NewProblem(acme.CAA, "another CA")}
	for name, c := range map[string]struct {
		bad    validation.Result
		rounds int
	}{
		"forbidden":  {forbidden, 1},
		"no verdict": {validation.Result{}, 1},
		"SERVFAIL":   {busy, 1 + len(Backoff)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pool.Config{})
				answers := map[string]validation.Result{}
				var names []string
				for i := range 100 {
					names = append(names, fmt.Sprint(i, ".test"))
					answers[names[i]] = valid
				}
				answers["57.test"] = c.bad
				issuer, asked := caaIssuer(answers)
				var got CAAVerdict
				for range c.rounds {
					if got.Final {
						t.Fatalf("final too early: %+v", got)
					}
					b.check(issuer, names...)
					if woke := b.woken(time.Minute); !slices.Equal(woke, []string{"order"}) {
						t.Fatalf("woke %v", woke)
					}
					got = b.check(issuer, names...)
					if got.Permitted || len(got.Refused) != 1 || *got.Refused[0].Identifier != (acme.Identifier{Type: acme.DNS, Value: "57.test"}) {
						t.Fatalf("got %+v", got)
					}
				}
				if !got.Final {
					t.Errorf("after %d rounds: %+v", c.rounds, got)
				}
				if asked["57.test"] != c.rounds || asked["3.test"] != c.rounds { // every name, each time
					t.Errorf("asked %v", asked)
				}
			})
		})
	}
}

func TestCAAOfAWildcard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{})
		issuer := &issuers.Issuer{Validator: checks(func(_ context.Context, r validation.Request) validation.Result {
			if r.Wildcard {
				return refused
			}
			return valid
		})}
		account, _ := pendingAuthorization("acct", "x")
		id := acme.Identifier{Type: acme.DNS, Value: "a.test"}
		both := []validation.Request{{Identifier: id}, {Identifier: id, Wildcard: true}}
		b.checkDue("uid", issuer, account, both)
		b.woken(0)
		got := b.checkDue("uid", issuer, account, both)
		if got.Permitted || len(got.Refused) != 1 || got.Refused[0].Identifier.Value != "*.a.test" {
			t.Errorf("got %+v", got)
		}
		// The name's own check doesn't stand for the wildcard, nor another order's for this one.
		b.checkDue("other", issuer, account, both[:1])
		b.woken(0)
		if got := b.checkDue("other", issuer, account, both[1:]); got.Permitted || got.Final {
			t.Errorf("got %+v", got)
		}
	})
}

func TestCAAForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{Size: 1})
		begun := 0
		issuer := &issuers.Issuer{Validator: checks(func(ctx context.Context, _ validation.Request) validation.Result {
			begun++
			<-ctx.Done()
			return busy
		})}
		b.check(issuer, "a.test", "b.test")
		synctest.Wait()
		b.caa.Forget(orderKey)
		b.caa.Forget(orderKey)
		if woke := b.woken(time.Hour); woke != nil || begun != 1 {
			t.Errorf("woke %v, began %d", woke, begun)
		}
	})
}

// Where the pool takes no more, nobody was asked, so nothing is permitted.
func TestCAAWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool.Config{Size: 1, WaitingPerAccount: 1})
		issuer := &issuers.Issuer{Validator: checks(func(context.Context, validation.Request) validation.Result {
			time.Sleep(time.Second)
			return valid
		})}
		b.check(issuer, "a.test", "b.test", "c.test")
		b.woken(time.Minute)
		got := b.check(issuer, "a.test", "b.test", "c.test")
		if got.Permitted || got.Final || len(got.Refused) != 1 || got.Refused[0].Type != acme.ServerInternal {
			t.Errorf("got %+v", got)
		}
	})
}
