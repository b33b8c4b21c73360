package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// A fault affects a site. The fault ends when do returns.
type fault struct {
	kind string
	do   func(context.Context, *site) error
	// early faults are the first ones, so that a short run has them.
	early bool
}

var kinds = []fault{
	{kind: "a controller is killed", do: killMember("controller")},
	{kind: "a replica of the ACME server is killed", do: killMember("server")},
	{kind: "all replicas of the ACME server are killed", do: killAll("server")},
	{kind: "a replica of the ACME server ends, and another begins", do: replaceMember("server")},
	{kind: "a controller stands still", do: stopMember("controller")},
	{kind: "a replica of the ACME server stands still", do: stopMember("server")},
	{kind: "kube-apiserver is killed", do: func(ctx context.Context, s *site) error { return s.local.Plane().RestartAPIServer(ctx) }},
	{kind: "etcd is killed", do: func(ctx context.Context, s *site) error { return s.local.Plane().RestartEtcd(ctx) }},
	{kind: "kube-apiserver stands still", do: stopPlane("kube-apiserver")},
	{kind: "etcd stands still", do: stopPlane("etcd")},
	{kind: "the controllers' connections are cut", do: cut("controller")},
	{kind: "the connections of a replica of the ACME server are cut", do: cut("server")},
	{kind: "the controllers' connections are slow", do: slow("controller")},
	{kind: "the connections of a replica of the ACME server are slow", do: slow("server")},
	{kind: "somebody else writes to the same objects", do: contend},
	{kind: "another controller is made to lead", do: flip},
	{kind: "two controllers work at once", do: two},
	{kind: "a controller's clock jumps", do: jump("controller")},
	{kind: "the clock of a replica of the ACME server jumps", do: jump("server")},
	{kind: "the key service is killed", do: killKeyService, early: true},
	{kind: "the key service stands still", do: stopKeyService, early: true},
	{kind: "the intermediate in the key service is rotated", do: rotateKeys, early: true},
}

// errLeftOut reports that a fault is not caused again, so it does not count.
var errLeftOut = errors.New("caused often enough")

// faults causes faults one after the other until the end of the duration, each kind equally often. Afterwards the
// site is as before.
func (s *site) faults(ctx context.Context, length time.Duration) error {
	end := time.Now().Add(length)
	var errs []error
	for first := true; time.Now().Before(end) && ctx.Err() == nil; first = false {
		deck := slices.Clone(kinds)
		s.random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		if first {
			slices.SortStableFunc(deck, earlyFirst)
		}
		for _, f := range deck {
			if !time.Now().Before(end) || ctx.Err() != nil {
				break
			}
			s.sleep(ctx, 100*time.Millisecond, 800*time.Millisecond)
			err := f.do(ctx, s)
			if errors.Is(err, errLeftOut) {
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", f.kind, err))
				continue
			}
			s.report.fault(f.kind)
			errs = append(errs, s.revive())
		}
	}
	for _, m := range s.members {
		errs = append(errs, m.awaitReady(ctx))
	}
	return errors.Join(errs...)
}

func earlyFirst(a, b fault) int {
	switch {
	case a.early == b.early:
		return 0
	case a.early:
		return -1
	}
	return 1
}

func (s *site) revive() error {
	var errs []error
	for _, m := range s.members {
		errs = append(errs, m.revive())
	}
	return errors.Join(errs...)
}

func (s *site) sleep(ctx context.Context, from, to time.Duration) {
	select {
	case <-time.After(from + time.Duration(s.random.Int64N(int64(to-from)))):
	case <-ctx.Done():
	}
}

// of returns a half's processes.
func (s *site) of(half string) []*member {
	var some []*member
	for _, m := range s.members {
		if m.half == half {
			some = append(some, m)
		}
	}
	return some
}

// choose returns a random process of a half.
func (s *site) choose(half string) *member {
	some := s.of(half)
	return some[s.random.IntN(len(some))]
}

func killMember(half string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		m := s.choose(half)
		m.process.Kill()
		s.sleep(ctx, 0, time.Second)
		return m.start()
	}
}

func stopMember(half string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		m := s.choose(half)
		m.signal(syscall.SIGSTOP)
		s.sleep(ctx, 200*time.Millisecond, 3*time.Second)
		m.signal(syscall.SIGCONT)
		return nil
	}
}

func stopPlane(name string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		for _, p := range s.local.Plane().Processes() {
			if p.Name() == name {
				pid := p.PID()
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					return err
				}
				s.sleep(ctx, 200*time.Millisecond, 2*time.Second)
				return syscall.Kill(pid, syscall.SIGCONT)
			}
		}
		return errors.New("the process does not run")
	}
}

func killAll(half string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		some := s.of(half)
		for _, m := range some {
			m.process.Kill()
		}
		s.sleep(ctx, 0, time.Second)
		var errs []error
		for _, m := range some {
			errs = append(errs, m.start())
		}
		return errors.Join(errs...)
	}
}

// replaceMember replaces a process as an update does.
func replaceMember(half string) func(context.Context, *site) error {
	return func(_ context.Context, s *site) error {
		m := s.choose(half)
		m.process.Stop(stopGrace)
		return m.start()
	}
}

// proxyOf returns a random proxy of a half.
func (s *site) proxyOf(half string) *proxy { return s.proxies[s.choose(half).proxy] }

func cut(half string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		p := s.proxyOf(half)
		p.closed.Store(s.random.IntN(2) == 0)
		p.cut()
		s.sleep(ctx, 0, time.Second)
		p.closed.Store(false)
		return nil
	}
}

func slow(half string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		p := s.proxyOf(half)
		p.delay.Store(int64(10*time.Millisecond) + s.random.Int64N(int64(300*time.Millisecond)))
		s.sleep(ctx, 500*time.Millisecond, 3*time.Second)
		p.delay.Store(0)
		return nil
	}
}

// Clocks jump by a small time, which must have no effect, or by a large time, which may fail orders. Both are shorter
// than the lifetime of certificates, so nothing expires early for another reason.
const (
	littleJump = 20 * time.Second
	largeJump  = 2 * time.Hour
)

// jump sets the clock of one process forward or back, and resets it after a while.
func jump(half string) func(context.Context, *site) error {
	return func(ctx context.Context, s *site) error {
		m := s.choose(half)
		far := largeJump
		if s.random.IntN(2) == 0 {
			far = littleJump
		}
		by := time.Duration(s.random.Int64N(2*int64(far))) - far
		if by.Abs() > littleJump {
			s.clocks.Add(1)
			defer s.clocks.Add(1)
		}
		err := m.setClock(by)
		s.sleep(ctx, 500*time.Millisecond, 3*time.Second)
		return errors.Join(err, m.setClock(0))
	}
}

// contend annotates all unfinished objects, so that the controllers' writes conflict.
func contend(ctx context.Context, s *site) error {
	end := time.Now().Add(time.Second + time.Duration(s.random.Int64N(int64(time.Second))))
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		some, err := unfinished(ctx, s)
		if err != nil {
			return err
		}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"chaos":"%d"}}}`, n))
		for _, object := range some {
			if err := client.IgnoreNotFound(s.admin.Patch(ctx, object, patch)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unfinished returns the accounts, the unfinished orders and authorizations, and a few finished orders.
func unfinished(ctx context.Context, s *site) (some []client.Object, err error) {
	var orders v1alpha1.AcmeOrderList
	var authorizations v1alpha1.AcmeAuthorizationList
	var accounts v1alpha1.AcmeAccountList
	for _, list := range []client.ObjectList{&orders, &authorizations, &accounts} {
		if err := s.admin.List(ctx, list, client.InNamespace(local.Namespace)); err != nil {
			return nil, err
		}
	}
	for i := range orders.Items {
		if !orders.Items[i].Finished() || s.random.IntN(20) == 0 {
			some = append(some, &orders.Items[i])
		}
	}
	for i := range authorizations.Items {
		if authorizations.Items[i].Status.Expires == nil {
			some = append(some, &authorizations.Items[i])
		}
	}
	for i := range accounts.Items {
		some = append(some, &accounts.Items[i])
	}
	return some, nil
}

// flip takes the lease from the leading controller. That controller works on until it notices and then ends, while
// the other one begins.
func flip(ctx context.Context, s *site) error {
	lease := &coordinationv1.Lease{}
	lease.Namespace, lease.Name = local.Namespace, "controller.acmeca.dev"
	// The patch has no resourceVersion, because the leader renews the lease all the time.
	taken := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"holderIdentity":"nobody","renewTime":null,"leaseDurationSeconds":1}}`))
	if err := s.admin.Patch(ctx, lease, taken); err != nil {
		return client.IgnoreNotFound(err)
	}
	s.sleep(ctx, 500*time.Millisecond, 3*time.Second)
	return nil
}

// two runs one more controller for a while, without leader election.
func two(ctx context.Context, s *site) error {
	s.unasked++
	m := &member{name: fmt.Sprintf("controller-unasked-%d", s.unasked), half: "controller", proxy: "controller"}
	if err := s.addMember(m); err != nil {
		return err
	}
	s.members = s.members[:len(s.members)-1]
	err := m.awaitReady(ctx)
	s.sleep(ctx, 500*time.Millisecond, 3*time.Second)
	m.process.Kill()
	return err
}
