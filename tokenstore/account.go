package tokenstore

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// readAccount reads who signed in from an id token. The signature is not
// checked: the token came in the answer of the token endpoint itself, over TLS
// that names the host, which OpenID Connect accepts in its place
// (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation,
// item 6). Whoever could forge it could as well give us another access token.
// The claims are shown to people and open nothing.
func readAccount(idToken string) Account {
	parts := strings.Split(idToken, ".")
	if len(parts) != 3 {
		return Account{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Account{}
	}
	var claims struct {
		TID               string `json:"tid"`
		OID               string `json:"oid"`
		PreferredUsername string `json:"preferred_username"`
		Email             string `json:"email"`
		Subject           string `json:"sub"`
		Name              string `json:"name"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return Account{}
	}
	return Account{
		Tenant: printable(claims.TID), ObjectID: printable(claims.OID),
		// Servers other than Entra may say less; a person wants to see some name.
		UPN:  printable(cmp.Or(claims.PreferredUsername, claims.Email, claims.Subject)),
		Name: printable(claims.Name),
	}
}

// printable keeps a foreign text from drawing on somebody's terminal, and short.
func printable(text string) string {
	const most = 256
	text = strings.ToValidUTF8(text, "")
	quoted := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return -1
		}
		return r
	}, text)
	if len(quoted) > most {
		quoted = strings.ToValidUTF8(quoted[:most], "")
	}
	return quoted
}
