package sandbox

import "sync"

// tokenCache remembers what access tokens say whose signature was found good: a
// client shows the same one with each of its requests, and checking it was a
// seventh of the cost of a mail. What may change about a token (its life, its
// account) is not in it.
type tokenCache struct {
	mu    sync.RWMutex
	known map[string]claims
}

// knownTokens bounds the cache; a full one begins again.
const knownTokens = 4096

func (c *tokenCache) get(token string) (claims, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found, ok := c.known[token]
	return found, ok
}

func (c *tokenCache) put(token string, said claims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= knownTokens {
		c.known = map[string]claims{}
	}
	c.known[token] = said
}
