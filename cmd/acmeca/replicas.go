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

// replicas is what the ACME server has in common with its other replicas.
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

// secretsPeriod is how often the secrets are read again, which are changed long before they are used.
const secretsPeriod = 5 * time.Second

func (r *replicas) bind(flags *flag.FlagSet) {
	flags.StringVar(&r.dir, "replica-dir", "", "`directory` with the secrets that the ACME server's replicas share, which are read again when they change; none where this is the only one")
	flags.StringVar(&r.listen, "replica-listen", ":8444", "`address` at which other replicas ask about nonces")
	flags.StringVar(&r.address, "replica-address", "", "IP `address` at which other replicas reach this one")
	flags.DurationVar(&r.linger, "replica-linger", 20*time.Second, "`time` for which other replicas can ask about nonces after the ACME server was told to stop and has answered its clients")
}

func (r *replicas) several() bool { return r.dir != "" }

// source makes the nonces of this replica. The keys come later, by wait.
func (r *replicas) source() (*nonce.Source, *replica.Peers, error) {
	r.keys = nonce.NewKeys()
	if !r.several() {
		source, err := nonce.NewSource(r.keys, "", time.Now)
		return source, nil, err
	}
	if net.ParseIP(r.address) == nil {
		return nil, nil, errors.New("--replica-dir needs --replica-address, the IP address at which the other replicas reach this one")
	}
	_, port, err := net.SplitHostPort(r.listen)
	if err != nil {
		return nil, nil, err
	}
	r.nonces, err = nonce.NewSource(r.keys, net.JoinHostPort(r.address, port), time.Now)
	return r.nonces, replica.NewPeers(&r.identity, time.Now), err
}

// wait waits for the secrets to have been made and mounted, and then reads them again until the context ends. It is false
// where the context ends first.
func (r *replicas) wait(ctx context.Context) bool {
	for waiting := false; ; waiting = true {
		err := r.load()
		if err == nil {
			go r.follow(ctx)
			return true
		}
		if !waiting {
			logf.FromContext(ctx).Info("waiting for the secrets of the ACME server's replicas", "directory", r.dir, "reason", err.Error())
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
				logf.FromContext(ctx).Error(err, "the secrets of the ACME server's replicas can't be read; those that were read before go on being used")
			}
		case <-ctx.Done():
			return
		}
	}
}

// load reads the secrets, the one in use first.
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

// server is for the other replicas alone.
func (r *replicas) server(ctx context.Context) *http.Server {
	server := newHTTPServer(ctx, replica.Handler(r.nonces))
	server.TLSConfig = r.identity.Server()
	return server
}
