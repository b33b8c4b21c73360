package controlplane

import "testing"

func TestParseRequests(t *testing.T) {
	metrics := `# HELP apiserver_request_total Counter of apiserver requests.
apiserver_request_total{code="201",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="resource",subresource="",verb="POST",version="v1alpha1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="resource",subresource="status",verb="PUT",version="v1alpha1"} 4
apiserver_request_total{code="409",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="resource",subresource="status",verb="PUT",version="v1alpha1"} 100
apiserver_request_total{code="200",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="cluster",subresource="",verb="LIST",version="v1alpha1"} 1.5e+01
apiserver_request_total{code="0",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="cluster",subresource="",verb="WATCH",version="v1alpha1"} 500
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="PATCH",version="v1"} 300
apiserver_longrunning_requests{code="200",resource="acmeorders"} 600
`
	all, err := parseRequests(metrics)
	if err != nil || len(all) != 6 {
		t.Fatalf("%d counters, %v", len(all), err)
	}
	ours := func(r Request) bool { return r.Group == "acmeca.dev" && r.Resource == "acmeorders" }
	for what, test := range map[string]struct {
		keep func(Request) bool
		want float64
	}{
		"writes":            {func(r Request) bool { return ours(r) && r.IsWrite() }, 109},
		"successful writes": {func(r Request) bool { return ours(r) && r.IsWrite() && r.Succeeded() }, 9},
		"writes of status":  {func(r Request) bool { return r.Subresource == "status" && r.Succeeded() }, 4},
		"reads":             {func(r Request) bool { return r.IsRead() }, 15},
		"others":            {func(r Request) bool { return !ours(r) }, 300},
	} {
		if got := all.Count(test.keep); got != test.want {
			t.Errorf("%s: %v, not %v", what, got, test.want)
		}
	}
	if _, err := parseRequests(`apiserver_request_total{code="201",verb="POST"} many`); err == nil {
		t.Error("a counter without a number is accepted")
	}
}
