package controlplane

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestReadWatch(t *testing.T) {
	// etcd's JSON gateway has keys and values in base64: /registry/a, one, two.
	const (
		created = `{"result":{"header":{"revision":"9"},"created":true}}`
		put     = `{"result":{"header":{"revision":"10"},"events":[{"kv":{"key":"L3JlZ2lzdHJ5L2E=","mod_revision":"10","value":"b25l"}}]}}`
		removed = `{"result":{"events":[{"kv":{"key":"L3JlZ2lzdHJ5L2E=","mod_revision":"11","value":"dHdv"}},` +
			`{"type":"DELETE","kv":{"key":"L3JlZ2lzdHJ5L2E=","mod_revision":"12"},"prev_kv":{"value":"dHdv","mod_revision":"11"}}]}}`
		compacted = `{"result":{"canceled":true,"compact_revision":"40"}}`
	)
	writes := []Write{
		{Path: "a", Value: []byte("one"), Revision: 10},
		{Path: "a", Value: []byte("two"), Revision: 11},
		{Path: "a", Value: []byte("two"), Deleted: true, Revision: 12},
	}
	for name, test := range map[string]struct {
		body  string
		want  []Write
		after uint64
		err   error
	}{
		"writes and a removal":    {created + put + "\n" + removed, writes, 12, io.EOF},
		"a watch that breaks off": {created + put + removed[:40], writes[:1], 10, io.ErrUnexpectedEOF},
		"compacted":               {created + compacted, nil, 5, ErrCompacted},
	} {
		t.Run(name, func(t *testing.T) {
			var found []Write
			after, err := readWatch(strings.NewReader(test.body), 5, func(write Write) { found = append(found, write) })
			if !reflect.DeepEqual(found, test.want) || after != test.after || !errors.Is(err, test.err) {
				t.Errorf("%v, %d, %v; want %v, %d, %v", found, after, err, test.want, test.after, test.err)
			}
		})
	}
}
