package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/peers"
	"github.com/acmeca/acmeca/hack/bench/report"
	"github.com/acmeca/acmeca/internal/test/local"
)

// compareServers loads this build, the earlier build and other servers in turns.
func (b *bench) compareServers(ctx context.Context) error {
	sites, stop, err := b.startServers(ctx)
	defer stop()
	if err != nil {
		return err
	}
	c := newComparison(sites)
	defer func() { b.report.Beside = c.beside() }()
	tasks := []load.Task{report.One, report.Some, report.Most, report.ManyNames}
	for _, s := range sites {
		for _, do := range tasks {
			if err := c.begin(ctx, s, do); err != nil {
				b.leaveOut(s.name+": "+do.String(), err)
			}
		}
	}
	for round := range b.options.rounds {
		fmt.Fprintf(b.out, "round %d of %d\n", round+1, b.options.rounds)
		for _, do := range tasks {
			for _, s := range sites {
				if err := c.drive(ctx, s, do, b.options.length); err != nil {
					b.leaveOut(s.name+": "+do.String(), err)
				}
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.add(c.rows()...)
	return b.countWrites(ctx, sites[0])
}

// startServers starts all servers, this build first. Without the others, the run goes on.
func (b *bench) startServers(ctx context.Context) (sites []*site, stop func(), err error) {
	stopDNS := func() {}
	stop = func() {
		for _, s := range sites {
			s.stop()
		}
		stopDNS()
	}
	first, err := b.startOurs(ctx, oursName)
	if err != nil {
		return nil, stop, err
	}
	sites = append(sites, first)
	if s, err := b.startEarlier(ctx, earlierName); err != nil {
		b.leaveOut(earlierName, err)
	} else {
		sites = append(sites, s)
	}
	resolver, end, err := startDNS()
	if err != nil {
		return sites, stop, err
	}
	stopDNS = end
	for _, kind := range peers.All {
		if s, err := b.startPeer(ctx, kind, resolver); err != nil {
			b.leaveOut(kind.Name, err)
		} else {
			sites = append(sites, s)
		}
	}
	return sites, stop, ctx.Err()
}

// comparison is the loads of several servers, round by round.
type comparison struct {
	sites    []*site
	sessions map[*site]map[load.Task]*load.Session
	rounds   map[string]map[load.Task][]load.Result // by server
}

func newComparison(sites []*site) *comparison {
	c := &comparison{sites: sites, sessions: map[*site]map[load.Task]*load.Session{}, rounds: map[string]map[load.Task][]load.Result{}}
	for _, s := range sites {
		c.sessions[s], c.rounds[s.name] = map[load.Task]*load.Session{}, map[load.Task][]load.Result{}
	}
	return c
}

// begin registers the clients of a load.
func (c *comparison) begin(ctx context.Context, s *site, do load.Task) error {
	if s.clients > 0 && do.Clients > s.clients {
		return fmt.Errorf("the server leaves some of %d clients without an answer", do.Clients)
	}
	session, err := s.begin(ctx, do)
	if err == nil {
		c.sessions[s][do] = session
	}
	return err
}

// nothing is a round without a certificate.
var nothing = load.Result{Rate: math.NaN(), P50: math.NaN(), ServerCPU: math.NaN(), PlaneCPU: math.NaN()}

// driveGrace is the time for certificates that were requested before the end of a round.
const driveGrace = 2 * time.Minute

// drive runs a round of a load. A server that leaves another server's clients without an answer is not loaded again.
func (c *comparison) drive(ctx context.Context, s *site, do load.Task, length time.Duration) error {
	session := c.sessions[s][do]
	if session == nil {
		c.rounds[s.name][do] = append(c.rounds[s.name][do], nothing)
		return nil
	}
	within, cancel := context.WithTimeout(ctx, length+driveGrace)
	defer cancel()
	err := session.Drive(within, length)
	result, noneErr := session.Last()
	if s.plane == nil && result.Failures > 0 {
		delete(c.sessions[s], do)
		err = errors.Join(err, fmt.Errorf("%d requests failed, the first: %s", result.Failures, result.FirstFailure))
	}
	if noneErr != nil {
		result = nothing
	}
	c.rounds[s.name][do] = append(c.rounds[s.name][do], result)
	return errors.Join(err, noneErr)
}

// beside returns the sums over all rounds.
func (c *comparison) beside() (all []report.Beside) {
	for _, s := range c.sites {
		one := report.Beside{Name: s.name}
		for _, do := range []load.Task{report.One, report.Some, report.Most, report.ManyNames} {
			if session := c.sessions[s][do]; session != nil {
				if result, err := session.Result(); err == nil {
					one.Loads = append(one.Loads, result)
				}
			}
		}
		all = append(all, one)
	}
	return all
}

// series returns a figure of a server's load in each round.
func (c *comparison) series(server string, do load.Task, figure func(load.Result) float64) (values []float64) {
	for _, result := range c.rounds[server][do] {
		values = append(values, figure(result))
	}
	return values
}

func rate(r load.Result) float64      { return r.Rate }
func p50(r load.Result) float64       { return r.P50 }
func serverCPU(r load.Result) float64 { return r.ServerCPU }
func planeCPU(r load.Result) float64  { return r.PlaneCPU }

// rows returns the figures, most of them with a target.
func (c *comparison) rows() (rows []report.Row) {
	against := func(row report.Row, peer string, do load.Task, figure func(load.Result) float64, unit string) {
		ours, theirs := c.series(oursName, do, figure), c.series(peer, do, figure)
		row.What = fmt.Sprintf("%s, %d clients / %s", row.What, do.Clients, peer)
		row.Rounds = report.Ratios(ours, theirs)
		row.Note = medians(ours, theirs, unit)
		rows = append(rows, row)
	}
	badger, postgreSQL, pebble := peers.All[0].Name, peers.All[1].Name, peers.All[2].Name
	against(report.Row{What: "control plane CPU for a certificate", AtMost: 0.75}, earlierName, report.Most, planeCPU, "ms")
	against(report.Row{What: "operator CPU for a certificate", AtMost: 0.7}, earlierName, report.Most, serverCPU, "ms")
	against(report.Row{What: "operator CPU for a certificate", AtMost: 1}, badger, report.Most, serverCPU, "ms")
	for _, do := range []load.Task{report.Some, report.Most} {
		against(report.Row{What: "certificates/s", AtLeast: 0.65}, badger, do, rate, "/s")
		against(report.Row{What: "certificates/s", AtLeast: 2}, postgreSQL, do, rate, "/s")
		against(report.Row{What: "certificates/s"}, earlierName, do, rate, "/s")
	}
	against(report.Row{What: "certificates/s"}, pebble, report.One, rate, "/s")
	many, one := c.series(oursName, report.ManyNames, p50), c.series(oursName, report.One, p50)
	return append(rows, report.Row{What: "100 names in one order / one name, p50, 1 client", AtMost: 20, Rounds: report.Ratios(many, one),
		Note: medians(many, one, "ms")})
}

// medians names the medians of two series.
func medians(a, b []float64, unit string) string {
	x, y := report.SpreadOf(a).Median, report.SpreadOf(b).Median
	if math.IsNaN(x) || math.IsNaN(y) {
		return ""
	}
	return report.Quantity(x, unit) + " and " + report.Quantity(y, unit)
}

// countWrites counts the writes for a certificate, with a challenge and with a granted name.
func (b *bench) countWrites(ctx context.Context, s *site) error {
	granted := load.Task{Of: "granted names", Clients: 1, Names: 1, Suffix: ".granted.test"}
	s.target.Registered = func(ctx context.Context, account string) error {
		return s.grant(ctx, path.Base(account), granted.Suffix)
	}
	defer func() { s.target.Registered = nil }()
	for do, row := range map[load.Task]report.Row{
		report.One: {What: "API writes for a certificate", AtMost: 5}, granted: {What: "API writes for a certificate, granted name", AtMost: 3},
	} {
		session, err := s.begin(ctx, do)
		if err != nil {
			return err
		}
		for range b.options.rounds {
			if err := session.Drive(ctx, b.options.length); err != nil {
				return err
			}
			result, err := session.Last()
			if err != nil {
				return err
			}
			row.Rounds = append(row.Rounds, math.Round(result.Writes*100)/100)
		}
		b.add(row)
	}
	return nil
}

// grant grants names with a suffix to an account.
func (s *site) grant(ctx context.Context, account, suffix string) error {
	issuer := &v1alpha1.AcmeIssuer{}
	if err := s.plane.Objects.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: "default"}, issuer); err != nil {
		return err
	}
	before := issuer.DeepCopy()
	issuer.Spec.Grants = []v1alpha1.Grant{{Name: "bench", DNS: []string{suffix}, Accounts: []string{account},
		Expires: &metav1.Time{Time: time.Now().Add(24 * time.Hour)}}}
	return s.plane.Objects.Patch(ctx, issuer, client.MergeFrom(before))
}
