package main

import (
	"testing"
	"time"
)

func TestWritesForPods(t *testing.T) {
	metrics := `# HELP apiserver_request_total Counter of apiserver requests.
apiserver_request_total{code="201",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="resource",subresource="",verb="POST",version="v1alpha1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="resource",subresource="status",verb="PUT",version="v1alpha1"} 4
apiserver_request_total{code="409",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="resource",subresource="status",verb="PUT",version="v1alpha1"} 100
apiserver_request_total{code="200",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeorders",scope="cluster",subresource="",verb="LIST",version="v1alpha1"} 200
apiserver_request_total{code="200",component="apiserver",dry_run="",group="acmeca.dev",resource="acmeissuers",scope="resource",subresource="status",verb="PUT",version="v1alpha1"} 300
apiserver_request_total{code="201",component="apiserver",dry_run="",group="certificates.k8s.io",resource="podcertificaterequests",scope="resource",subresource="",verb="POST",version="v1"} 400
apiserver_request_total{code="200",component="apiserver",dry_run="",group="certificates.k8s.io",resource="podcertificaterequests",scope="resource",subresource="status",verb="PUT",version="v1"} 1.5e+01
apiserver_request_total{code="0",component="apiserver",dry_run="",group="certificates.k8s.io",resource="podcertificaterequests",scope="cluster",subresource="",verb="WATCH",version="v1"} 500
apiserver_longrunning_requests{code="200",resource="acmeorders"} 600
`
	if w, err := podWritesIn(metrics); err != nil || w != (podWrites{orders: 9, answers: 15}) {
		t.Errorf("%v, %v", w, err)
	}
	if _, err := podWritesIn(`apiserver_request_total{code="201",resource="acmeorders",verb="POST"} many`); err == nil {
		t.Error("a line without a number is accepted")
	}
}

func TestRateOfPods(t *testing.T) {
	latencies := []time.Duration{40 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond}
	p := newPods(latencies, 2*time.Second, podWrites{orders: 8, answers: 5})
	if p.Requests != 4 || p.Rate != 2 || p.P50 != 20 || p.P99 != 40 || p.OrderWrites != 2 || p.AnswerWrites != 1.25 || p.writes() != 3.25 {
		t.Errorf("%+v", p)
	}
	if rows := (Report{}).podRows(); len(rows) != 1 {
		t.Errorf("rows without a measurement: %v", rows)
	}
}
