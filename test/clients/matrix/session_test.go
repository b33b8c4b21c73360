package matrix

import (
	"context"
	"errors"
	"os"
)

// commands is a session of functions.
type commands struct {
	obtainFunc, renewFunc func(context.Context) ([]byte, error)
	revokeFunc            func(context.Context) error
}

var errNotOffered = errors.New("the client does not offer it")

func (c commands) obtain(ctx context.Context) ([]byte, error) { return c.obtainFunc(ctx) }

func (c commands) renew(ctx context.Context) ([]byte, error) {
	if c.renewFunc == nil {
		return c.obtainFunc(ctx)
	}
	return c.renewFunc(ctx)
}

func (c commands) revoke(ctx context.Context) error {
	if c.revokeFunc == nil {
		return errNotOffered
	}
	return c.revokeFunc(ctx)
}

// thenRead returns a file's content after a command.
func thenRead(file string, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// makeKey writes a new RSA key.
func (s *site) makeKey(ctx context.Context, file string) error {
	if _, err := os.Stat(s.path(file)); err == nil {
		return nil
	}
	_, err := s.run(ctx, nil, "openssl", "genrsa", "-traditional", "-out", s.path(file), "2048")
	return err
}

// makeCSR writes a new key and a request for the site's name.
func (s *site) makeCSR(ctx context.Context, key, csr, form string) error {
	_, err := s.run(ctx, nil, "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", s.path(key), "-outform", form,
		"-subj", "/CN="+s.name, "-addext", "subjectAltName=DNS:"+s.name, "-out", s.path(csr))
	return err
}
