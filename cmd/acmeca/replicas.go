package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/acmeserver/replica"
)

// replicas is the part of the ACME server that its replicas share: keys, identity and nonces.
type replicas struct {
	dir     string
	listen  string
	address string
	linger  time.Duration

	keys     *nonce.Keys
	identity replica.Identity
	nonces   *nonce.Source
	loaded   [][]byte
}

// secretsPeriod is the time between two reads of the secrets. A new secret is stored long before it is used.
const secretsPeriod = 5 * time.Second

func (r *replicas) bind(flags *flag.FlagSet) {
	flags.StringVar(&r.dir, "replica-dir", "", "`directory` with the keys shared by the ACME server's replicas, which are reloaded when they change; empty for a single replica")
	flags.StringVar(&r.listen, "replica-listen", ":8444", "`address` on which to answer other replicas about nonces")
	flags.StringVar(&r.address, "replica-address", "", "IP `address` under which other replicas reach this one")
	flags.DurationVar(&r.linger, "replica-linger", 20*time.Second, "`time` to continue answering other replicas about nonces after the last client was answered at shutdown")
}

func (r *replicas) several() bool { return r.dir != "" }

// source returns the nonces of this replica, and its peers if there are several replicas. wait loads the keys later.
func (r *replicas) source() (*nonce.Source, *replica.Peers, error) {
	r.keys = nonce.NewKeys()
	if !r.several() {
		source, err := nonce.NewSource(r.keys, "", time.Now)
		return source, nil, err
	}
	if net.ParseIP(r.address) == nil {
		return nil, nil, errors.New("--replica-dir needs --replica-address, the IP address under which other replicas reach this one")
	}
	_, port, err := net.SplitHostPort(r.listen)
	if err != nil {
		return nil, nil, err
	}
	r.nonces, err = nonce.NewSource(r.keys, net.JoinHostPort(r.address, port), time.Now)
	return r.nonces, replica.NewPeers(&r.identity, time.Now), err
}

// wait waits until the secrets are mounted, and then starts to reload them until ctx ends. It returns false if ctx ends first.
func (r *replicas) wait(ctx context.Context) bool {
	for waiting := false; ; waiting = true {
		err := r.load()
		if err == nil {
			go r.follow(ctx)
			return true
		}
		if !waiting {
			logf.FromContext(ctx).Info("waiting for the keys shared by the ACME server's replicas", "directory", r.dir, "reason", err.Error())
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

func (r *replicas) follow(ctx context.Context) {
	ticker := time.NewTicker(secretsPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := r.load(); err != nil {
				logf.FromContext(ctx).Error(err, "cannot reload the keys shared by the ACME server's replicas; keeping the previous ones")
			}
		case <-ctx.Done():
			return
		}
	}
}

// load reads the secrets, the current one first, and does nothing if they are unchanged.
func (r *replicas) load() error {
	var secrets [][]byte
	for _, name := range []string{"current", "next", "previous"} {
		secret, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil && (name == "current" || !errors.Is(err, os.ErrNotExist)) {
			return err
		}
		if err == nil {
			secrets = append(secrets, secret)
		}
	}
	if slices.EqualFunc(secrets, r.loaded, bytes.Equal) {
		return nil
	}
	if err := errors.Join(r.keys.Set(secrets...), r.identity.Set(secrets...)); err != nil {
		return err
	}
	r.loaded = secrets
	return nil
}

// server returns the server for other replicas, which authenticates them.
func (r *replicas) server(ctx context.Context) *http.Server {
	server := newHTTPServer(ctx, replica.Handler(r.nonces))
	server.TLSConfig = r.identity.Server()
	return server
}
