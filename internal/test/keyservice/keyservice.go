// Package keyservice runs a key service in tests, which can stall, lie, and go.
package keyservice

import (
	"context"
	"crypto"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
	"github.com/acmeca/acmeca/internal/keyservice/file"
)

// Service is a key service with keys in files.
type Service struct {
	// Socket is the path of its socket, Dir that of the directory with its keys.
	Socket, Dir string

	*file.Backend
	stop func()

	mu       sync.Mutex
	stalled  chan struct{}
	lie      func(signature []byte) []byte
	fault    error
	signed   int
	replaced map[string]crypto.PublicKey
}

// New starts a key service in a new directory.
func New() (*Service, error) {
	dir, err := os.MkdirTemp("", "keys") // short, since the path of a socket is bounded
	if err != nil {
		return nil, err
	}
	s := &Service{Socket: filepath.Join(dir, "s", "socket"), Dir: filepath.Join(dir, "keys"), replaced: map[string]crypto.PublicKey{}}
	if s.Backend, err = file.Open(s.Dir); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// Start starts the service again after Stop.
func (s *Service) Start() error {
	listener, err := keyservice.Listen(s.Socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = keyservice.NewServer(s, 16, logr.Discard()).Serve(ctx, listener)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	return nil
}

// Stop ends the service.
func (s *Service) Stop() { s.stop() }

// Close ends the service for good.
func (s *Service) Close() {
	s.Resume()
	s.Stop()
	_ = os.RemoveAll(filepath.Dir(s.Dir))
}

// Stall lets calls begin and not end, until Resume.
func (s *Service) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled == nil {
		s.stalled = make(chan struct{})
	}
}

// Resume ends Stall.
func (s *Service) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
}

// Lie changes signatures; nil ends that.
func (s *Service) Lie(change func(signature []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = change
}

// Fail makes all calls fail; nil ends that.
func (s *Service) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

// Replace shows another public key under a name.
func (s *Service) Replace(name string, public crypto.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced[name] = public
}

// Signed returns the number of signatures.
func (s *Service) Signed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signed
}

// enter waits while the service is stalled, and returns the fault of all calls.
func (s *Service) enter(ctx context.Context) error {
	s.mu.Lock()
	stalled, fault := s.stalled, s.fault
	s.mu.Unlock()
	if stalled == nil {
		return fault
	}
	select {
	case <-stalled:
		return fault
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Check implements keyservice.Backend.
func (s *Service) Check(ctx context.Context) error { return s.enter(ctx) }

// Keys implements keyservice.Backend.
func (s *Service) Keys(ctx context.Context, name string) ([]keyservice.Key, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	keys, err := s.Backend.Keys(ctx, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range keys {
		if public, ok := s.replaced[keys[i].Name]; ok {
			keys[i].Public = public
		}
	}
	return keys, err
}

// Sign implements keyservice.Backend.
func (s *Service) Sign(ctx context.Context, name string, algorithm pb.Algorithm, input []byte) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	signature, err := s.Backend.Sign(ctx, name, algorithm, input)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed++
	if s.lie != nil && err == nil {
		signature = s.lie(signature)
	}
	return signature, err
}

// Generate implements keyservice.Generator.
func (s *Service) Generate(ctx context.Context, name string, keyType pb.KeyType) (keyservice.Key, error) {
	if err := s.enter(ctx); err != nil {
		return keyservice.Key{}, err
	}
	return s.Backend.Generate(ctx, name, keyType)
}
