package graph

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// maxChallenge bounds the claims of a challenge; Entra's are some hundred bytes.
const maxChallenge = 2 << 10

// claimsParameter finds the claims in a challenge of the Bearer scheme.
var claimsParameter = regexp.MustCompile(`(?i)(?:^|[\s,])claims="([A-Za-z0-9+/_=-]{4,})"`)

// claimsOf returns the claims request of a 401 or 403, decoded, or "". Graph
// sends it to clients that said they can answer it; this one does not say so,
// and answers all the same.
// https://learn.microsoft.com/entra/identity-platform/claims-challenge
func claimsOf(a *answer) string {
	if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		return ""
	}
	for _, value := range a.header.Values("Www-Authenticate") {
		found := claimsParameter.FindStringSubmatch(value)
		if found == nil {
			continue
		}
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			text, err := encoding.DecodeString(found[1])
			var object map[string]json.RawMessage
			if access := a.secret.Access.Reveal(); access != "" && strings.Contains(string(text), access) {
				return "" // it would go to the sign-in server and, perhaps, into an address
			}
			if err == nil && len(text) <= maxChallenge && json.Unmarshal(text, &object) == nil && len(object) > 0 {
				return string(text)
			}
		}
	}
	return ""
}

// claimsAsked returns the claims that Graph asked for with an error.
func claimsAsked(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Claims
	}
	return ""
}
