package jws

import (
	"sync"

	"github.com/acmeca/acmeca/api/acme"
)

// maxCachedKeys bounds a KeyCache. A key takes about 1 KiB.
const maxCachedKeys = 4096

// KeyCache caches parsed account keys, because each request of an account needs its key. It depends on nothing but the JWK: the
// caller decides whether the account may still use the key. The zero value is ready to use. A KeyCache is safe for concurrent
// use.
type KeyCache struct {
	mu   sync.Mutex
	keys map[string]*Key
}

// Parse is ParseKey with a cache.
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
		for some := range c.keys { // evict any key; it is parsed again when needed
			delete(c.keys, some)
			break
		}
	}
	c.keys[jwk] = key
	return key, nil
}
