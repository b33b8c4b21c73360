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
	body, err := json.Marshal(map[string]any{"success": puts})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.etcdURL()+"/v3/kv/txn", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s: %s", response.Status, text)
	}
	return nil
}
