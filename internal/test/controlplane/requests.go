package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Request is a counter of the API server's requests, by its labels.
type Request struct {
	Group, Resource, Subresource, Verb, Code string
	Count                                    float64
}

// IsRead reports whether the requests read objects once. A watch is neither a read nor a write.
func (r Request) IsRead() bool { return r.Verb == "GET" || r.Verb == "LIST" }

// IsWrite reports whether the requests write objects.
func (r Request) IsWrite() bool { return !r.IsRead() && r.Verb != "WATCH" }

// Succeeded reports whether the requests were successful. A write that conflicts is not.
func (r Request) Succeeded() bool { return strings.HasPrefix(r.Code, "2") }

// Requests are the API server's counters of requests since its start.
type Requests []Request

// Count returns the number of requests that keep selects.
func (all Requests) Count(keep func(Request) bool) (sum float64) {
	for _, r := range all {
		if keep(r) {
			sum += r.Count
		}
	}
	return sum
}

// Requests reads the API server's counters.
func (p *Plane) Requests(ctx context.Context) (Requests, error) {
	client, err := p.keys.admin.httpClient(p.keys.cluster)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	text, err := read(client, request)
	if err != nil {
		return nil, err
	}
	return parseRequests(string(text))
}

var metricLabel = regexp.MustCompile(`(\w+)="([^"]*)"`)

// parseRequests reads the counters among the API server's metrics.
func parseRequests(metrics string) (all Requests, err error) {
	for line := range strings.Lines(metrics) {
		labels, found := strings.CutPrefix(line, "apiserver_request_total{")
		if !found {
			continue
		}
		var r Request
		for _, label := range metricLabel.FindAllStringSubmatch(labels, -1) {
			switch label[1] {
			case "group":
				r.Group = label[2]
			case "resource":
				r.Resource = label[2]
			case "subresource":
				r.Subresource = label[2]
			case "verb":
				r.Verb = label[2]
			case "code":
				r.Code = label[2]
			}
		}
		if r.Count, err = strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64); err != nil {
			return nil, fmt.Errorf("the API server's metrics: %w", err)
		}
		all = append(all, r)
	}
	return all, nil
}
