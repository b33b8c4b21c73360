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

func TestGoroutinesAreCountedByWhoStartedThem(t *testing.T) {
	got := goroutinesIn(`goroutine 1 [running]:
main.main()
	/main.go:1 +0x1

goroutine 7 [select]:
net/http.(*persistConn).readLoop(0xc000)
	/transport.go:1 +0x1
created by net/http.(*Transport).dialConn in goroutine 5
	/transport.go:2 +0x1

goroutine 8 [select]:
net/http.(*persistConn).writeLoop(0xc000)
	/transport.go:3 +0x1
created by net/http.(*Transport).dialConn in goroutine 5
	/transport.go:4 +0x1
`)
	if want := (goroutines{"net/http.(*Transport).dialConn": 2}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestWhatIsHeldMore(t *testing.T) {
	before := held{[]goroutines{{"a": 100}, {"a": 50}}, []goroutines{{"a": 80}, {"a": 80, "b": 1}}, map[string]int{"acmeorders": 4}}
	if more := before.more(before); more != "" {
		t.Error(more)
	}
	less := held{[]goroutines{{"a": 98, "b": 1}, {"a": 50}}, []goroutines{{"a": 80}, {"a": 70}}, nil}
	if more := less.more(before); more != "" {
		t.Error(more)
	}
	for what, now := range map[string]held{
		"controller, by size, 1 has 51 idle goroutines, and had 50: 51 started by a and not 50":     {[]goroutines{{"a": 100}, {"a": 51}}, nil, nil},
		"replica of the ACME server 1 has 82 idle goroutines, and had 81: 2 started by b and not 1": {nil, []goroutines{{"a": 80}, {"a": 80, "b": 2}}, nil},
		"5 watches": {nil, nil, map[string]int{"acmeorders": 5}},
	} {
		if more := now.more(before); !strings.Contains(more, what) {
			t.Errorf("%s: %q", what, more)
		}
	}
}
