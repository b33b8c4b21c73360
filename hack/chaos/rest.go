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

// held is what processes hold while nobody wants anything of them.
type held struct {
	// goroutines of the controllers, the one that leads first, and of each replica of the endpoint.
	controllers, servers []int
	// watches of the API server, by resource.
	watches map[string]int
}

const (
	// restFor is for how long nothing changes at rest.
	restFor  = 3 * time.Second
	restLook = 250 * time.Millisecond
	// restWait is for connections that are kept for the next request.
	restWait = 3 * time.Minute
)

// warmUp is how long clients work before it is counted what processes hold.
const warmUp = 2 * time.Second

// atRest has clients do all that there is, waits until that has no more effect, and says what is held then.
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
			return false, fmt.Errorf("what is held changes: %v", now)
		}
		time.Sleep(restLook)
		return time.Since(since) > restFor, errors.New("it isn't at rest for long enough")
	})
	return last, err
}

func (h held) equal(o held) bool {
	return slices.Equal(h.controllers, o.controllers) && slices.Equal(h.servers, o.servers) && maps.Equal(h.watches, o.watches)
}

// more says what is held more than before; nothing where there is none.
func (h held) more(before held) string {
	var what []string
	for i, n := range h.controllers {
		if i < len(before.controllers) && n > before.controllers[i] {
			what = append(what, fmt.Sprintf("controller %d in size has %d goroutines at rest, and had %d", i+1, n, before.controllers[i]))
		}
	}
	for i, n := range h.servers {
		if i < len(before.servers) && n > before.servers[i] {
			what = append(what, fmt.Sprintf("replica %d of the endpoint has %d goroutines at rest, and had %d", i, n, before.servers[i]))
		}
	}
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
		text, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=1", m.pprof))
		if err != nil {
			return h, err
		}
		var count int
		if _, err := fmt.Sscanf(text, "goroutine profile: total %d", &count); err != nil {
			return h, err
		}
		if m.half == "server" {
			h.servers = append(h.servers, count)
		} else {
			h.controllers = append(h.controllers, count)
		}
	}
	slices.Sort(h.controllers) // the one that leads does more
	slices.Reverse(h.controllers)
	var err error
	h.watches, err = s.watches(ctx)
	return h, err
}

// watches are those that the API server has open, by resource.
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

// watchesIn reads the API server's metrics: acmeca's kinds and those of core that it watches.
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

// checkLeaks holds that after all that happened no more is held than before.
func (s *site) checkLeaks(ctx context.Context, before held) {
	var more string
	err := s.await(ctx, restWait, func() (bool, error) {
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
