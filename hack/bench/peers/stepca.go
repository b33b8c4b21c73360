package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/freeport"
)

// database starts a database, and returns its part of step-ca's configuration.
type database func(context.Context, *Peer) (map[string]any, error)

// startBadger needs no process of its own.
func startBadger(_ context.Context, p *Peer) (map[string]any, error) {
	return map[string]any{"type": "badgerv2", "dataSource": p.path("db")}, nil
}

func startStepCA(startDatabase database) func(context.Context, io.Writer, string) (*Peer, error) {
	return func(ctx context.Context, progress io.Writer, resolver string) (*Peer, error) {
		return start(ctx, progress, "step-ca", func(p *Peer) error {
			db, err := startDatabase(ctx, p)
			if err != nil {
				return err
			}
			var https int
			program, err := binaries.Path("step-ca")
			if err := errors.Join(err, freeport.Choose(&https), p.writeAuthority()); err != nil {
				return err
			}
			config, err := p.writeJSON("ca.json", map[string]any{
				"root": p.path(rootFile + certSuffix), "crt": p.path(intermediateFile + certSuffix), "key": p.path(intermediateFile + keySuffix),
				"address": loopback(https), "dnsNames": []string{"127.0.0.1"}, "db": db,
				"authority": map[string]any{"provisioners": []map[string]any{{"type": "ACME", "name": "acme"}}},
			})
			if err != nil {
				return err
			}
			p.Directory = "https://" + loopback(https) + "/acme/acme/directory"
			server, err := p.run("step-ca", program, append(os.Environ(), "STEPPATH="+p.dir), config,
				"--insecure", "--resolver", resolver, "--acme-http-port", strconv.Itoa(p.HTTP01))
			if err != nil {
				return err
			}
			return p.awaitDirectory(ctx, server)
		})
	}
}

// startPostgreSQL starts a PostgreSQL server that waits for no disk, as the etcd beside acmeca. The server refuses to run as root.
func startPostgreSQL(ctx context.Context, p *Peer) (map[string]any, error) {
	initdb, err := findPostgreSQL("initdb")
	if err != nil {
		return nil, err
	}
	data, wrap := p.path("postgresql"), []string(nil)
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if wrap, err = asOther("postgres", data); err != nil {
			return nil, err
		}
	}
	create := append(wrap, initdb, "--pgdata", data, "--username", "step", "--auth", "trust", "--no-sync",
		"--locale", "C", "--encoding", "UTF8")
	if output, err := exec.CommandContext(ctx, create[0], create[1:]...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, output)
	}
	var port int
	if err := freeport.Choose(&port); err != nil {
		return nil, err
	}
	serve := append(wrap, filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(port),
		"-k", "", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "max_connections=300")
	server, err := p.run("postgresql", serve[0], nil, serve[1:]...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ready := filepath.Join(filepath.Dir(initdb), "pg_isready")
	for exec.CommandContext(ctx, ready, "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port)).Run() != nil {
		select {
		case <-server.Done():
			return nil, server.Failure()
		case <-ctx.Done():
			return nil, fmt.Errorf("PostgreSQL: %w; the end of its log:\n%s", ctx.Err(), server.LogTail(20))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return map[string]any{"type": "postgresql", "dataSource": fmt.Sprintf("postgresql://step@127.0.0.1:%d/", port), "database": "stepca"}, nil
}

// findPostgreSQL returns a program of PostgreSQL. Debian keeps most of them out of the PATH.
func findPostgreSQL(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return filepath.EvalSymlinks(path) // the other programs are beside it
	}
	found, _ := filepath.Glob(filepath.Join("/usr/lib/postgresql/*/bin", program)) // the pattern is valid
	if len(found) == 0 {
		return "", fmt.Errorf("%s of PostgreSQL is not installed (Debian: apt-get install postgresql)", program)
	}
	return found[len(found)-1], nil
}

// asOther gives a directory to another user, and returns the words before a command that this user runs. The kernel ends the program
// with its parent.
func asOther(name, dir string) ([]string, error) {
	other, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.Atoi(other.Uid)
	gid, err2 := strconv.Atoi(other.Gid)
	setpriv, err3 := exec.LookPath("setpriv")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	words := []string{setpriv, "--reuid", other.Uid, "--regid", other.Gid, "--clear-groups", "--pdeathsig", "QUIT", "--"}
	return words[:len(words):len(words)], os.Chown(dir, uid, gid)
}
