package tokenstore

import (
	"encoding/json"
	"strings"
)

// maxClaims bounds a claims request; Entra's are some hundred bytes.
const maxClaims = 2 << 10

// validClaims returns a claims request that may be sent on: a JSON object of a
// bounded size, printable. Anything else becomes empty. It came from Graph, from
// the sign-in server or from another process, and goes into an address.
// https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter
func validClaims(text string) string {
	if len(text) > maxClaims || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }) {
		return ""
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || len(object) == 0 {
		return ""
	}
	return text
}

// Claims returns what the next sign-in of a client must ask for, because a
// sign-in server or Graph demanded it; mostly nothing.
func (k *Keeper) Claims(client string) string {
	h := k.holdings[client]
	if h == nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.grant != nil && h.grant.Claims != "" {
		return h.grant.Claims.Reveal()
	}
	return h.claims
}

// Claims returns what the next sign-in of a client must ask for; see
// [Keeper.Claims]. A process that does not own the store knows of none.
func (s *Shared) Claims(client string) string {
	keeper, err := s.owned()
	if err != nil {
		return ""
	}
	return keeper.Claims(client)
}
