package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A Write is a write of a key in etcd.
type Write struct {
	// Path is the key below /registry/.
	Path string
	// Value is the new value, or the last one of a deleted key.
	Value    []byte
	Deleted  bool
	Revision uint64
}

// ErrCompacted reports that etcd no longer has the writes that were asked for.
var ErrCompacted = errors.New("etcd has compacted the writes")

// Revision returns the revision of the last write in etcd.
func (p *Plane) Revision(ctx context.Context) (uint64, error) {
	client, err := p.keys.etcdClient.httpClient(p.keys.etcd)
	if err != nil {
		return 0, err
	}
	defer client.CloseIdleConnections()
	text, err := p.etcdPost(ctx, client, "/v3/kv/range", map[string]any{"key": []byte("/registry/"), "count_only": true})
	if err != nil {
		return 0, err
	}
	var found struct{ Header etcdHeader }
	err = json.Unmarshal(text, &found)
	return found.Header.Revision, err
}

// refollow is the pause before a broken watch is resumed.
const refollow = 50 * time.Millisecond

// Follow passes on each write after a revision to a path that begins with prefix, until ctx ends. It resumes a broken watch, so
// restarts of kube-apiserver and etcd hide no write. The error is ErrCompacted, or nil if ctx ended.
func (p *Plane) Follow(ctx context.Context, prefix string, after uint64, pass func(Write)) error {
	client, err := p.keys.etcdClient.httpClient(p.keys.etcd)
	if err != nil {
		return err
	}
	client.Timeout = 0
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		after, err = p.followOnce(ctx, client, prefix, after, pass)
		if errors.Is(err, ErrCompacted) {
			return fmt.Errorf("%s after revision %d: %w", prefix, after, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(refollow):
		}
	}
	return nil
}

func (p *Plane) followOnce(ctx context.Context, client *http.Client, prefix string, after uint64, pass func(Write)) (uint64, error) {
	key, end := etcdRange(prefix)
	request, err := p.etcdRequest(ctx, "/v3/watch", map[string]any{"create_request": map[string]any{
		"key": key, "range_end": end, "start_revision": after + 1, "prev_kv": true,
	}})
	if err != nil {
		return after, err
	}
	response, err := client.Do(request)
	if err != nil {
		return after, err
	}
	defer response.Body.Close()
	return readWatch(response.Body, after, pass)
}

type etcdHeader struct {
	Revision uint64 `json:"revision,string"`
}

type etcdKV struct {
	Key, Value []byte
	Revision   uint64 `json:"mod_revision,string"`
}

// readWatch passes on the writes in the answer to a watch, and returns the revision of the last one.
func readWatch(body io.Reader, after uint64, pass func(Write)) (uint64, error) {
	for decoder := json.NewDecoder(body); ; {
		var answer struct {
			Result struct {
				Compacted uint64 `json:"compact_revision,string"`
				Events    []struct {
					Type     string
					KV       etcdKV
					Previous etcdKV `json:"prev_kv"`
				}
			}
		}
		if err := decoder.Decode(&answer); err != nil {
			return after, err
		}
		if answer.Result.Compacted > 0 {
			return after, ErrCompacted
		}
		for _, event := range answer.Result.Events {
			write := Write{
				Path: strings.TrimPrefix(string(event.KV.Key), "/registry/"), Value: event.KV.Value,
				Deleted: event.Type == "DELETE", Revision: event.KV.Revision,
			}
			if write.Deleted {
				write.Value = event.Previous.Value
			}
			pass(write)
			after = write.Revision
		}
	}
}
