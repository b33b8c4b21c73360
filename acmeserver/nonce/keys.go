package nonce

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
)

// SecretSize is the minimum length of a secret that replicas share, in bytes.
const SecretSize = 32

// Keys encrypts nonces. Replicas share its secrets to read each other's nonces. The secrets may be replaced during use.
type Keys struct {
	pairs atomic.Pointer[[]keyPair]
}

// keyPair holds the keys of a secret. A message is encrypted with AES-256 in counter mode that starts at the tag, which is an
// HMAC-SHA-256 of the plain text: the construction SIV of RFC 5297. It takes no random number, so a sealed message is only tagSize bytes
// longer than the plain text. Equal messages would be sealed alike, and no two nonces are equal.
type keyPair struct {
	mac    []byte
	cipher cipher.Block
}

// tagSize is the length of a tag in bytes: 96 bits, as AES-GCM allows too.
const tagSize = 12

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
	pairs := make([]keyPair, len(secrets))
	for i, secret := range secrets {
		if len(secret) < SecretSize {
			return fmt.Errorf("a secret of %d bytes is too short; it needs %d", len(secret), SecretSize)
		}
		keys, err := hkdf.Key(sha256.New, secret, nil, "acmeca.dev/nonce SIV", 2*keySize)
		if err != nil {
			return err
		}
		pairs[i].mac = keys[:keySize]
		if pairs[i].cipher, err = aes.NewCipher(keys[keySize:]); err != nil {
			return err
		}
	}
	k.pairs.Store(&pairs)
	return nil
}

// keySize is the length of both keys of a pair in bytes.
const keySize = 32

// seal encrypts with the first key.
func (k *Keys) seal(plain []byte) []byte {
	pair := &(*k.pairs.Load())[0]
	sealed := append(make([]byte, 0, tagSize+len(plain)), pair.tag(plain)...)
	return append(sealed, pair.crypt(sealed, plain)...)
}

// open decrypts a message that was sealed with any of the keys.
func (k *Keys) open(sealed []byte) (plain []byte, ok bool) {
	pairs := *k.pairs.Load()
	for i := range pairs {
		plain = pairs[i].crypt(sealed[:tagSize], sealed[tagSize:])
		if hmac.Equal(pairs[i].tag(plain), sealed[:tagSize]) {
			return plain, true
		}
	}
	return nil, false
}

func (p *keyPair) tag(plain []byte) []byte {
	mac := hmac.New(sha256.New, p.mac)
	_, _ = mac.Write(plain) // a hash takes all
	return mac.Sum(nil)[:tagSize]
}

// crypt encrypts or decrypts a text, which has less than 2^32 blocks.
func (p *keyPair) crypt(tag, text []byte) []byte {
	start := make([]byte, aes.BlockSize)
	copy(start, tag)
	out := make([]byte, len(text))
	cipher.NewCTR(p.cipher, start).XORKeyStream(out, text)
	return out
}
