// Package peers starts other ACME servers on loopback, to measure them beside acmeca: step-ca with Badger or PostgreSQL, and
// Pebble.
package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/process"
)

// Peer is a running ACME server.
type Peer struct {
	Directory string
	Roots     *x509.CertPool
	HTTP01    int // the port of http-01

	dir       string
	processes []*process.Process // in the order of their start
}

// Starter starts a kind of server, which resolves names with the DNS server at an address.
type Starter struct {
	Name string
	// Clients is the largest number of clients that the server answers; 0 for any.
	Clients int
	Start   func(ctx context.Context, progress io.Writer, resolver string) (*Peer, error)
}

// All lists the servers.
var All = []Starter{
	{Name: "step-ca, Badger", Start: startStepCA(startBadger)},
	{Name: "step-ca, PostgreSQL", Start: startStepCA(startPostgreSQL)},
	{Name: "Pebble", Start: startPebble, Clients: 1},
}

// stopGrace is the time for a server to end.
const stopGrace = 10 * time.Second

// Stop stops the server and its database, and removes their files.
func (p *Peer) Stop() {
	for i := len(p.processes) - 1; i >= 0; i-- {
		p.processes[i].Stop(stopGrace)
	}
	_ = os.RemoveAll(p.dir) // a temporary directory; errors are ignored
}

// ProcessorTime returns the processor time of the server and its database.
func (p *Peer) ProcessorTime() (sum time.Duration, err error) {
	for _, one := range p.processes {
		own, err := load.FamilyTime(one.PID())
		if err != nil {
			return 0, err
		}
		sum += own
	}
	return sum, nil
}

// start runs f with a new peer, and stops what has started if f fails.
func start(ctx context.Context, progress io.Writer, program string, f func(*Peer) error) (*Peer, error) {
	if err := binaries.Ensure(ctx, progress, program); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "acmeca-bench-")
	if err != nil {
		return nil, err
	}
	p := &Peer{dir: dir}
	// Another user, who runs the database, reads its own directory below.
	if err = errors.Join(os.Chmod(dir, 0o711), freeport.Choose(&p.HTTP01)); err == nil {
		err = f(p)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// run starts a program and keeps it for Stop.
func (p *Peer) run(name, path string, env []string, args ...string) (*process.Process, error) {
	one, err := process.Start(process.Spec{Name: name, Path: path, Args: args, Env: env, Log: p.path(name + ".log")})
	if err == nil {
		p.processes = append(p.processes, one)
	}
	return one, err
}

// readyTimeout bounds the start of a server.
const readyTimeout = time.Minute

// awaitDirectory waits until the server serves its directory.
func (p *Peer) awaitDirectory(ctx context.Context, server *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.Roots}}}
	defer client.CloseIdleConnections()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Directory, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		select {
		case <-server.Done():
			return server.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the end of its log:\n%s", p.Directory, err, server.LogTail(20))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *Peer) path(name string) string { return filepath.Join(p.dir, name) }

func (p *Peer) writeJSON(name string, value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return p.path(name), os.WriteFile(p.path(name), text, 0o600)
}

func startPebble(ctx context.Context, progress io.Writer, resolver string) (*Peer, error) {
	return start(ctx, progress, "pebble", func(p *Peer) error {
		var https, management, tlsALPN int
		program, err := binaries.Path("pebble")
		if err := errors.Join(err, freeport.Choose(&https, &management, &tlsALPN)); err != nil {
			return err
		}
		if err := p.writeAuthority(); err != nil {
			return err
		}
		config, err := p.writeJSON("pebble.json", map[string]any{"pebble": map[string]any{
			"listenAddress": loopback(https), "managementListenAddress": loopback(management),
			"certificate": p.path(serverFile + certSuffix), "privateKey": p.path(serverFile + keySuffix),
			"httpPort": p.HTTP01, "tlsPort": tlsALPN,
		}})
		if err != nil {
			return err
		}
		p.Directory = "https://" + loopback(https) + "/dir"
		env := append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
		server, err := p.run("pebble", program, env, "-config", config, "-dnsserver", resolver)
		if err != nil {
			return err
		}
		return p.awaitDirectory(ctx, server)
	})
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
