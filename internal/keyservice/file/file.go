// Package file is a key service's backend for tests and for trying out: a directory with private keys in PEM.
package file

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
	"github.com/acmeca/acmeca/internal/keyservice"
)

const suffix = ".pem"

// Backend holds the keys in a directory: each in PKCS#8, in a file named after the key with the suffix ".pem".
type Backend struct {
	dir string

	mu    sync.Mutex
	known map[string]knownKey
}

// knownKey is a key that was read, with the state of its file.
type knownKey struct {
	key      crypto.Signer
	modified time.Time
}

// Open returns the backend of a directory, which it makes if it does not exist. It returns an error if other users can read the
// directory.
func Open(dir string) (*Backend, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	b := &Backend{dir: dir, known: map[string]knownKey{}}
	return b, b.Check(context.Background())
}

// Name implements keyservice.Backend.
func (b *Backend) Name() string { return "files" }

// Check implements keyservice.Backend.
func (b *Backend) Check(context.Context) error {
	info, err := os.Stat(b.dir)
	switch {
	case err != nil:
		return unavailable(err)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the directory %s has the mode %s: other users must not be able to read it", b.dir, info.Mode())
	}
	return nil
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", keyservice.ErrUnavailable, err) }

// Keys implements keyservice.Backend.
func (b *Backend) Keys(_ context.Context, name string) ([]keyservice.Key, error) {
	names := []string{name}
	if name == "" {
		entries, err := os.ReadDir(b.dir)
		if err != nil {
			return nil, unavailable(err)
		}
		names = nil
		for _, entry := range entries {
			if name, ok := strings.CutSuffix(entry.Name(), suffix); ok && keyservice.ValidName(name) {
				names = append(names, name)
			}
		}
	}
	var keys []keyservice.Key
	for _, name := range names {
		key, err := b.read(name)
		if errors.Is(err, keyservice.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, keyservice.Key{Name: name, Public: key.Public()})
	}
	return keys, nil
}

// Sign implements keyservice.Backend. Its ECDSA signatures are random, as those of an HSM.
func (b *Backend) Sign(_ context.Context, name string, algorithm pb.Algorithm, input []byte) ([]byte, error) {
	key, err := b.read(name)
	if err != nil {
		return nil, err
	}
	if own, err := keyservice.AlgorithmOf(key.Public()); err != nil || own != algorithm {
		return nil, keyservice.ErrUnsupported
	}
	hash, err := keyservice.HashOf(algorithm)
	if err != nil {
		return nil, err
	}
	return key.Sign(rand.Reader, input, hash)
}

// Generate implements keyservice.Generator.
func (b *Backend) Generate(_ context.Context, name string, keyType pb.KeyType) (keyservice.Key, error) {
	if _, err := os.Stat(b.path(name)); err == nil {
		return keyservice.Key{}, keyservice.ErrExists
	}
	key, err := generate(keyType)
	if err != nil {
		return keyservice.Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyservice.Key{}, err
	}
	if err := b.write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return keyservice.Key{}, err
	}
	return keyservice.Key{Name: name, Public: key.Public()}, nil
}

// write stores a new key. The link makes that another one is never overwritten, and that the file is never there in part.
func (b *Backend) write(name string, text []byte) error {
	temporary, err := os.CreateTemp(b.dir, ".new-*") // with mode 0600
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(text)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return unavailable(err)
	}
	err = os.Link(temporary.Name(), b.path(name))
	if errors.Is(err, fs.ErrExist) {
		return keyservice.ErrExists
	}
	return err
}

func (b *Backend) path(name string) string { return filepath.Join(b.dir, name+suffix) }

func (b *Backend) read(name string) (crypto.Signer, error) {
	info, err := os.Stat(b.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, keyservice.ErrNotFound
	case err != nil:
		return nil, unavailable(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.known[name]; ok && known.modified.Equal(info.ModTime()) {
		return known.key, nil
	}
	key, err := b.parse(name)
	if err == nil {
		b.known[name] = knownKey{key, info.ModTime()}
	}
	return key, err
}

func (b *Backend) parse(name string) (crypto.Signer, error) {
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		return nil, unavailable(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("the file of the key %q has no PEM block", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the file of the key %q has no key in PKCS#8", name) // never quotes the file
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key %q does not sign", name)
	}
	return signer, nil
}

func generate(keyType pb.KeyType) (crypto.Signer, error) {
	switch keyType {
	case pb.KeyType_KEY_TYPE_RSA_2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case pb.KeyType_KEY_TYPE_RSA_3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case pb.KeyType_KEY_TYPE_RSA_4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case pb.KeyType_KEY_TYPE_ECDSA_P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case pb.KeyType_KEY_TYPE_ECDSA_P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case pb.KeyType_KEY_TYPE_ECDSA_P521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case pb.KeyType_KEY_TYPE_ED25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("%w: unknown type of key %d", keyservice.ErrUnsupported, keyType)
}
