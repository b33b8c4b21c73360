package matrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// atOnce bounds the sessions that run side by side. Most of them wait most of the time.
	atOnce = 8
	// delay is how long validation fails in the scenario of patience.
	delay = 6 * time.Second
	// suspension is how long an issuer answers 503 after the first time.
	suspension = 4 * time.Second
	// stepTime bounds one command of a client.
	stepTime = 2 * time.Minute
)

// result of a scenario.
type result struct {
	outcome
	err error
}

// run holds the results of one client. Several sequences of scenarios run side by side.
type run struct {
	client *acmeClient

	mu      sync.Mutex
	results map[scenarioID]result
	changed chan struct{} // closed when a result is added
}

var (
	slots   = make(chan struct{}, atOnce)
	running sync.WaitGroup
	cancels []context.CancelFunc
	dirs    = &directories{}
)

// directories of sessions, for their removal.
type directories struct {
	mu    sync.Mutex
	paths []string
}

func (d *directories) add(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paths = append(d.paths, path)
}

func stopAll() {
	for _, cancel := range cancels {
		cancel()
	}
	running.Wait()
	for _, path := range dirs.paths {
		_ = os.RemoveAll(path) // the system cleans what stays
	}
}

// start starts all scenarios of a client.
func start(c *acmeClient) *run {
	r := &run{client: c, results: map[scenarioID]result{}, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background()) // ends by stopAll
	cancels = append(cancels, cancel)
	prepared := sync.OnceValue(func() error {
		if c.prepare == nil {
			return nil
		}
		return c.prepare(ctx)
	})
	for _, sequence := range []func(context.Context){r.obtainRenewRevoke, r.patienceAndReuse, r.bound, r.granted, r.busy} {
		running.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			if err := prepared(); err != nil {
				for _, scenario := range scenarios {
					r.set(scenario.id, fails, err)
				}
				return
			}
			sequence(ctx)
		})
	}
	return r
}

func (r *run) set(id scenarioID, v verdict, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[id] = result{outcome{verdict: v}, err}
	close(r.changed)
	r.changed = make(chan struct{})
}

// record sets a scenario to success or failure, and reports success.
func (r *run) record(id scenarioID, err error) bool {
	v := works
	if err != nil {
		v = fails
	}
	r.set(id, v, err)
	return err == nil
}

// wait waits for a scenario's result.
func (r *run) wait(ctx context.Context, id scenarioID) result {
	for {
		r.mu.Lock()
		found, ok := r.results[id]
		changed := r.changed
		r.mu.Unlock()
		if ok {
			return found
		}
		select {
		case <-changed:
		case <-ctx.Done():
			Fail(fmt.Sprintf("%s has no result for %s in time", r.client.name, id))
		}
	}
}

func (r *run) site(issuer string, delay time.Duration) (*site, error) {
	s, err := newSite(r.client.label(), issuer, delay)
	if err == nil {
		dirs.add(s.dir)
	}
	return s, err
}

// step runs one command of a client, and checks the certificate that it returns.
func (r *run) step(ctx context.Context, s *site, command func(context.Context) ([]byte, error)) (issued, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	chain, err := command(ctx)
	if err != nil {
		return issued{}, err
	}
	order, err := s.check(ctx, chain)
	if err != nil {
		return issued{}, err
	}
	return issued{order.Name, order.CertificateID(), order.Spec.Replaces, order.Spec.AccountRef.Name, order.Grant(0)}, nil
}

// issued holds the fields of a certificate's AcmeOrder that scenarios compare.
type issued struct{ order, certificateID, replaces, account, grant string }

func (r *run) obtainRenewRevoke(ctx context.Context) {
	s, err := r.site(plainIssuer, 0)
	if err != nil {
		r.fail(err, obtaining, renewing, revoking)
		return
	}
	session := r.client.open(s)
	first, err := r.step(ctx, s, session.obtain)
	if !r.record(obtaining, err) {
		r.fail(fmt.Errorf("nothing was obtained: %w", err), renewing, revoking)
		return
	}
	if r.runs(renewing) {
		r.record(renewing, r.renew(ctx, s, session, first))
	}
	if r.runs(revoking) {
		r.record(revoking, r.revoke(ctx, s, session))
	}
}

func (r *run) runs(id scenarioID) bool { return r.client.expect[id].verdict != notRun }

func (r *run) fail(err error, ids ...scenarioID) {
	for _, id := range ids {
		r.set(id, fails, err)
	}
}

func (r *run) renew(ctx context.Context, s *site, session session, first issued) error {
	second, err := r.step(ctx, s, session.renew)
	if err != nil {
		return err
	}
	switch {
	case second.order == first.order:
		return errors.New("the certificate is the first one")
	case second.account != first.account:
		return errors.New("the renewal has another account")
	case r.client.ari && second.replaces != first.certificateID:
		return fmt.Errorf("the order replaces %q, not %q", second.replaces, first.certificateID)
	}
	return nil
}

func (r *run) revoke(ctx context.Context, s *site, session session) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if err := session.revoke(ctx); err != nil {
		return err
	}
	orders, err := s.orders(ctx)
	if err != nil {
		return err
	}
	revoked := 0
	for _, order := range orders {
		if order.Status.RevokedAt != nil {
			revoked++
		}
	}
	if revoked != 1 {
		return fmt.Errorf("%d of %d certificates are revoked", revoked, len(orders))
	}
	return nil
}

func (r *run) patienceAndReuse(ctx context.Context) {
	s, err := r.site(reuseIssuer, delay)
	if err != nil {
		r.fail(err, patience, reuse)
		return
	}
	session := r.client.open(s)
	begin := time.Now()
	first, err := r.step(ctx, s, session.obtain)
	if err == nil && time.Since(begin) < delay {
		err = errors.New("the certificate came before validation could succeed")
	}
	if !r.record(patience, err) && first.order == "" {
		// Validation succeeds after the delay.
		if err = pause(ctx, delay); err == nil {
			first, err = r.step(ctx, s, session.obtain)
		}
		if err != nil {
			r.fail(err, reuse)
			return
		}
	}
	if !r.runs(reuse) {
		return
	}
	before := s.host.challenges()
	err = r.renew(ctx, s, session, first)
	if after := s.host.challenges(); err == nil && after != before {
		err = fmt.Errorf("validated again: %d challenges, then %d", before, after)
	}
	r.record(reuse, err)
}

func (r *run) bound(ctx context.Context) {
	if !r.runs(binding) {
		return
	}
	s, err := r.site(boundIssuer, 0)
	if err != nil {
		r.fail(err, binding)
		return
	}
	if s.external, err = createExternalKey(ctx, boundIssuer, r.client.label()); err != nil {
		r.fail(err, binding)
		return
	}
	_, err = r.step(ctx, s, r.client.open(s).obtain)
	r.record(binding, err)
}

// granted has a client obtain and renew a certificate for a name that is granted to its external account key. A client that knows none
// proves control once, and renews after its account was granted the name.
func (r *run) granted(ctx context.Context) {
	s, err := r.site(grantedIssuer, 0)
	if err == nil && r.client.expect[binding].verdict == works {
		s.external, err = createExternalKey(ctx, grantedIssuer, r.client.label())
	}
	if err != nil {
		r.fail(err, granted)
		return
	}
	r.record(granted, r.useGrant(ctx, s))
}

func (r *run) useGrant(ctx context.Context, s *site) error {
	session := r.client.open(s)
	first, err := r.step(ctx, s, session.obtain)
	if err != nil {
		return err
	}
	before := s.host.challenges()
	if s.external == nil {
		if err := grantAccount(ctx, r.client.label(), first.account); err != nil {
			return err
		}
	} else if before > 0 || first.grant != r.client.label() {
		return fmt.Errorf("the first certificate is by the grant %q, after %d challenges", first.grant, before)
	}
	if err := r.renew(ctx, s, session, first); err != nil {
		return err
	}
	orders, err := s.orders(ctx)
	if err != nil {
		return err
	}
	renewed := slices.ContainsFunc(orders, func(o v1alpha1.AcmeOrder) bool { return o.Name != first.order && o.GrantedBy(r.client.label()) })
	if after := s.host.challenges(); !renewed || after != before {
		return fmt.Errorf("renewed by the grant: %t, after %d more challenges", renewed, after-before)
	}
	return nil
}

// busy has the client meet an issuer that is suspended. A run that fails is followed by another one once the issuer is
// resumed.
func (r *run) busy(ctx context.Context) {
	if !r.runs(overloaded) {
		return
	}
	s, err := r.site(busyIssuer(r.client), 0)
	if err != nil {
		r.fail(err, overloaded)
		return
	}
	proxy := busyProxies[r.client]
	s.base = proxy.base()
	session := r.client.open(s)
	ended := make(chan error, 1)
	go func() {
		_, err := r.step(ctx, s, session.obtain)
		ended <- err
	}()
	select {
	case err = <-ended:
		r.fail(fmt.Errorf("the client ended before it met 503: %w", err), overloaded)
		return
	case <-proxy.met:
	}
	time.Sleep(suspension)
	if err := suspend(ctx, s.issuer, false); err != nil {
		r.fail(err, overloaded)
		return
	}
	if err = <-ended; err == nil {
		r.set(overloaded, waits, nil)
		return
	}
	_, again := r.step(ctx, s, session.obtain)
	if again != nil {
		r.fail(again, overloaded)
		return
	}
	r.set(overloaded, endsAt, err)
}

var notInLabel = regexp.MustCompile(`[^a-z0-9]+`)

// label is the client's name as part of a DNS name.
func (c *acmeClient) label() string {
	return strings.Trim(notInLabel.ReplaceAllString(strings.ToLower(c.name), "-"), "-")
}
