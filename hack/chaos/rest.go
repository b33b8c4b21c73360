package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/acmeca/acmeca/hack/chaos/history"
)

// held is the set of resources that idle processes hold.
type held struct {
	// controllers and servers are the goroutines of the controllers, the leader first, and of each replica of the
	// ACME server.
	controllers, servers []goroutines
	// watches counts the open watches of the API server, by resource.
	watches map[string]int
}

// goroutines counts a process's goroutines by the function that started them.
type goroutines map[string]int

func (g goroutines) total() int {
	total := 0
	for _, n := range g {
		total += n
	}
	return total
}

// goroutinesIn reads a profile with whole stacks (debug=2).
func goroutinesIn(profile string) goroutines {
	g := goroutines{}
	for line := range strings.Lines(profile) {
		if creator, found := strings.CutPrefix(line, "created by "); found {
			creator, _, _ = strings.Cut(creator, " in goroutine")
			g[strings.TrimSpace(creator)]++
		}
	}
	return g
}

// more describes the goroutines that grew in number, or returns "".
func (g goroutines) more(before goroutines) string {
	if g.total() <= before.total() {
		return ""
	}
	var what []string
	for _, creator := range slices.Sorted(maps.Keys(g)) {
		if n := g[creator]; n > before[creator] {
			what = append(what, fmt.Sprintf("%d started by %s and not %d", n, creator, before[creator]))
		}
	}
	return fmt.Sprintf("has %d idle goroutines, and had %d: %s", g.total(), before.total(), strings.Join(what, ", "))
}

const (
	// restFor is the time without a change after which the processes count as idle.
	restFor  = 3 * time.Second
	restLook = 250 * time.Millisecond
	// restWait exceeds the lifetime of idle connections.
	restWait = 3 * time.Minute
)

// warmUp is the time that clients work before the first count.
const warmUp = 2 * time.Second

// atRest runs clients of every kind, waits until the processes are idle, and returns the held resources.
func (s *site) atRest(ctx context.Context) (held, error) {
	end := make(chan struct{})
	time.AfterFunc(warmUp, func() { close(end) })
	<-s.load(ctx, "early-client", 4, end)
	var last held
	since := time.Now()
	err := s.await(ctx, restWait, func() (bool, error) {
		now, err := s.holds(ctx)
		if err != nil {
			return false, err
		}
		if !last.equal(now) {
			last, since = now, time.Now()
			return false, fmt.Errorf("held resources change: %v", now)
		}
		time.Sleep(restLook)
		return time.Since(since) > restFor, errors.New("not idle for long enough")
	})
	return last, err
}

func (h held) equal(o held) bool {
	same := func(a, b goroutines) bool { return maps.Equal(a, b) }
	return slices.EqualFunc(h.controllers, o.controllers, same) && slices.EqualFunc(h.servers, o.servers, same) &&
		maps.Equal(h.watches, o.watches)
}

// more describes the resources that grew in number, or returns "".
func (h held) more(before held) string {
	var what []string
	note := func(process string, now, before []goroutines) {
		for i := range min(len(now), len(before)) {
			if more := now[i].more(before[i]); more != "" {
				what = append(what, fmt.Sprintf("%s %d %s", process, i, more))
			}
		}
	}
	note("controller, by size,", h.controllers, before.controllers)
	note("replica of the ACME server", h.servers, before.servers)
	for _, resource := range slices.Sorted(maps.Keys(h.watches)) {
		if n := h.watches[resource]; n > before.watches[resource] {
			what = append(what, fmt.Sprintf("%d watches of %s, and there were %d", n, resource, before.watches[resource]))
		}
	}
	return strings.Join(what, "; ")
}

func (s *site) holds(ctx context.Context) (held, error) {
	h := held{}
	for _, m := range s.members {
		text, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=2", m.pprof))
		if err != nil {
			return h, err
		}
		if m.half == "server" {
			h.servers = append(h.servers, goroutinesIn(text))
		} else {
			h.controllers = append(h.controllers, goroutinesIn(text))
		}
	}
	slices.SortFunc(h.controllers, func(a, b goroutines) int { return b.total() - a.total() }) // the leader has more goroutines
	var err error
	h.watches, err = s.watches(ctx)
	return h, err
}

// watches returns the open watches of the API server, by resource.
func (s *site) watches(ctx context.Context) (map[string]int, error) {
	config := s.local.Plane().Config()
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	defer h.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := h.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return watchesIn(response.Body)
}

// watchesIn reads the API server's metrics: the watches of acmeca's kinds, and of the core kinds that acmeca watches.
func watchesIn(metrics io.Reader) (map[string]int, error) {
	open := map[string]int{}
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		labels, value, found := strings.Cut(strings.TrimPrefix(lines.Text(), "apiserver_longrunning_requests{"), "} ")
		if !found || !strings.HasPrefix(lines.Text(), "apiserver_longrunning_requests{") || !strings.Contains(labels, `verb="WATCH"`) {
			continue
		}
		group, resource := label(labels, "group"), label(labels, "resource")
		var n int
		if _, err := fmt.Sscan(value, &n); err != nil {
			return nil, err
		}
		if n != 0 && (group == "acmeca.dev" || group == "" && (resource == "secrets" || resource == "configmaps")) {
			open[resource] += n
		}
	}
	return open, lines.Err()
}

func label(labels, name string) string {
	_, value, _ := strings.Cut(labels, name+`="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

// checkLeaks checks that no more resources are held after the faults than before.
func (s *site) checkLeaks(ctx context.Context, before held) {
	var more string
	err := s.awaitAlive(ctx, restWait, func() (bool, error) {
		now, err := s.holds(ctx)
		if err != nil {
			return false, err
		}
		more = now.more(before)
		return more == "", errors.New(more)
	})
	if err != nil {
		s.report.violated(history.Violation{Fault: history.Broken, What: err.Error()})
	}
}
