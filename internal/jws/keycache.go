package jws

import (
	"sync"

	"github.com/acmeca/acmeca/api/acme"
)

// maxCachedKeys bounds a KeyCache; a key takes about 1 KiB.
const maxCachedKeys = 4096

// KeyCache remembers the keys of accounts that it has parsed, since each request of an account needs its key again. The zero
// value is ready for use, by several goroutines at once. It holds no more than what ParseKey gave, so that nothing that
// changes with time is in it: whether an account may still use its key is for the caller to know.
type KeyCache struct {
	mu   sync.Mutex
	keys map[string]*Key
}

// Parse is ParseKey.
func (c *KeyCache) Parse(jwk string) (*Key, *acme.Problem) {
	c.mu.Lock()
	key, ok := c.keys[jwk]
	c.mu.Unlock()
	if ok {
		return key, nil
	}
	key, problem := ParseKey([]byte(jwk))
	if problem != nil {
		return nil, problem
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[string]*Key)
	}
	if len(c.keys) >= maxCachedKeys {
		for some := range c.keys { // any will do: one that is used again is parsed again
			delete(c.keys, some)
			break
		}
	}
	c.keys[jwk] = key
	return key, nil
}
