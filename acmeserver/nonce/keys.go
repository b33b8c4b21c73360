package nonce

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// SecretSize is the minimum length of a secret that replicas share, in bytes.
const SecretSize = 32

// Keys encrypts nonces. Replicas share its secrets to read each other's nonces. The secrets may be replaced during use.
type Keys struct {
	// XChaCha20-Poly1305 allows practically unlimited messages with random nonces. AES-GCM allows 2^32 (NIST SP 800-38D
	// section 8.3), which a flood reaches in days.
	aeads atomic.Pointer[[]cipher.AEAD]
}

// NewKeys returns Keys with a random secret, for an ACME server without other replicas.
func NewKeys() *Keys {
	secret := make([]byte, SecretSize)
	rand.Read(secret) // never fails
	k := &Keys{}
	if err := k.Set(secret); err != nil {
		panic(err) // the secret is long enough
	}
	return k
}

// Set replaces the secrets. Nonces are issued with the first one, and accepted with any of them.
func (k *Keys) Set(secrets ...[]byte) error {
	if len(secrets) == 0 {
		return errors.New("there is no secret")
	}
	aeads := make([]cipher.AEAD, len(secrets))
	for i, secret := range secrets {
		if len(secret) < SecretSize {
			return fmt.Errorf("a secret of %d bytes is too short; it needs %d", len(secret), SecretSize)
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "acmeca.dev/nonce", chacha20poly1305.KeySize)
		if err != nil {
			return err
		}
		if aeads[i], err = chacha20poly1305.NewX(key); err != nil {
			return err
		}
	}
	k.aeads.Store(&aeads)
	return nil
}

// seal encrypts with the first key.
func (k *Keys) seal(plain []byte) []byte {
	random := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	rand.Read(random)
	return (*k.aeads.Load())[0].Seal(random, random, plain, nil)
}

// open decrypts a message that was sealed with any of the keys.
func (k *Keys) open(sealed []byte) (plain []byte, ok bool) {
	random, rest := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	for _, aead := range *k.aeads.Load() {
		if plain, err := aead.Open(nil, random, rest, nil); err == nil {
			return plain, true
		}
	}
	return nil, false
}
