package controlplane

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"
)

// These are the limits of one etcd request: operations (etcd's --max-txn-ops) and bytes.
const (
	seedOperations = 128
	seedBytes      = 1 << 20
)

type etcdPut struct {
	RequestPut struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"requestPut"`
}

// Seed stores objects by their path below /registry/, without the API server's checks. Measurements with many objects
// would take hours through the API server. Seed uses etcd's JSON gateway.
func (p *Plane) Seed(ctx context.Context, objects iter.Seq2[string, []byte]) error {
	client, err := p.keys.etcdClient.httpClient(p.keys.etcd)
	if err != nil {
		return err
	}
	client.Timeout = time.Minute
	var batch []etcdPut
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := p.putAll(ctx, client, batch)
		batch, size = batch[:0], 0
		return err
	}
	for path, value := range objects {
		var put etcdPut
		put.RequestPut.Key = base64.StdEncoding.EncodeToString([]byte("/registry/" + path))
		put.RequestPut.Value = base64.StdEncoding.EncodeToString(value)
		batch = append(batch, put)
		if size += len(value); len(batch) == seedOperations || size > seedBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (p *Plane) putAll(ctx context.Context, client *http.Client, puts []etcdPut) error {
	_, err := p.etcdPost(ctx, client, "/v3/kv/txn", map[string]any{"success": puts})
	return err
}

// Sizes returns the bytes that objects take in etcd, by their path below /registry/, which begins with prefix. A key counts like
// its value.
func (p *Plane) Sizes(ctx context.Context, prefix string) (map[string]int, error) {
	client, err := p.keys.etcdClient.httpClient(p.keys.etcd)
	if err != nil {
		return nil, err
	}
	client.Timeout = time.Minute
	key, end := etcdRange(prefix)
	text, err := p.etcdPost(ctx, client, "/v3/kv/range", map[string]any{"key": key, "range_end": end})
	if err != nil {
		return nil, err
	}
	var found struct {
		KVs []struct{ Key, Value []byte }
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, err
	}
	sizes := map[string]int{}
	for _, kv := range found.KVs {
		sizes[strings.TrimPrefix(string(kv.Key), "/registry/")] = len(kv.Key) + len(kv.Value)
	}
	return sizes, nil
}

// etcdRange returns the range of keys that begin with prefix, below /registry/.
func etcdRange(prefix string) (key, end []byte) {
	key = []byte("/registry/" + prefix)
	end = bytes.Clone(key)
	end[len(end)-1]++
	return key, end
}

// etcdPost sends a request to etcd's JSON gateway, and returns the answer.
func (p *Plane) etcdPost(ctx context.Context, client *http.Client, path string, message any) ([]byte, error) {
	request, err := p.etcdRequest(ctx, path, message)
	if err != nil {
		return nil, err
	}
	return read(client, request)
}

// etcdRequest returns a request to etcd's JSON gateway, which has bytes in base64, as JSON in Go does.
func (p *Plane) etcdRequest(ctx context.Context, path string, message any) (*http.Request, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	return http.NewRequestWithContext(ctx, http.MethodPost, p.etcdURL()+path, bytes.NewReader(body))
}

// read sends a request, and returns the body of its successful answer.
func read(client *http.Client, request *http.Request) ([]byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", request.URL, response.Status, text)
	}
	return text, err
}
