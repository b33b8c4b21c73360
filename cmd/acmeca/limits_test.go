package main

import (
	"flag"
	"math"
	"testing"
)

func TestConnectionsFollowTheMemoryLimit(t *testing.T) {
	for memory, want := range map[int64]int{math.MaxInt64: 8192, 483183820: 2457, 1 << 20: 128, 4 << 30: 21845} {
		if got := defaultConnections(memory); got != want {
			t.Errorf("%d bytes: %d connections, want %d", memory, got, want)
		}
	}
	for _, test := range []struct {
		args                []string
		connections, client int // zero expects an error
	}{
		{nil, unlimitedConnections, unlimitedConnections / 4},
		{[]string{"-max-connections=100"}, 100, 25},
		{[]string{"-max-connections=100", "-max-connections-per-client=90"}, 100, 90},
		{[]string{"-max-connections=-1"}, 0, 0},
		{[]string{"-max-requests=0"}, 0, 0},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		var l limits
		l.bind(flags)
		if err := flags.Parse(test.args); err != nil {
			t.Fatal(err)
		}
		if err := l.check(); (err != nil) != (test.connections == 0) || err == nil && (l.connections != test.connections || l.connectionsPerClient != test.client) {
			t.Errorf("%v: %+v, %v", test.args, l, err)
		}
	}
}
