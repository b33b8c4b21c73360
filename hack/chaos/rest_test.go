package main

import (
	"maps"
	"strings"
	"testing"
)

func TestWatchesAreCounted(t *testing.T) {
	open, err := watchesIn(strings.NewReader(`# HELP apiserver_longrunning_requests x
apiserver_longrunning_requests{component="apiserver",group="acmeca.dev",resource="acmeorders",scope="cluster",subresource="",verb="WATCH",version="v1alpha1"} 3
apiserver_longrunning_requests{component="apiserver",group="acmeca.dev",resource="acmeorders",scope="namespace",subresource="",verb="WATCH",version="v1alpha1"} 1
apiserver_longrunning_requests{component="apiserver",group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1"} 7
apiserver_longrunning_requests{component="apiserver",group="",resource="secrets",scope="cluster",subresource="",verb="WATCH",version="v1"} 2
apiserver_request_total{group="acmeca.dev",resource="acmeorders",verb="WATCH"} 9
`))
	if want := map[string]int{"acmeorders": 4, "secrets": 2}; err != nil || !maps.Equal(open, want) {
		t.Errorf("%v, %v; want %v", open, err, want)
	}
}

func TestWhatIsHeldMore(t *testing.T) {
	before := held{[]int{100, 50}, []int{80, 81}, map[string]int{"acmeorders": 4}}
	if more := before.more(before); more != "" {
		t.Error(more)
	}
	less := held{[]int{99, 50}, []int{80, 70}, nil}
	if more := less.more(before); more != "" {
		t.Error(more)
	}
	for what, now := range map[string]held{
		"controller 2": {[]int{100, 51}, []int{80, 81}, nil}, "replica 1": {[]int{100, 50}, []int{80, 82}, nil}, "5 watches": {nil, nil, map[string]int{"acmeorders": 5}},
	} {
		if more := now.more(before); !strings.Contains(more, what) {
			t.Errorf("%s: %q", what, more)
		}
	}
}
