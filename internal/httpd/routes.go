package httpd

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
)

// Program is how /livez names the program, so that a second process can tell
// whether the holder of its port is one of its own.
const Program = "outlook-connector"

// livez says that the process turns. It checks nothing else: a process that
// waits for NATS or Graph must not be restarted for it.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"program": Program, "version": s.opts.Version, "instance": s.opts.Instance})
}

// readyz lists the conditions; 503 while one of severity high fails.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	list := s.opts.Checks.List(r.Context())
	code := http.StatusOK
	if !health.Ready(list) {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, map[string]any{"ready": code == http.StatusOK, "conditions": list})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.opts.Status(r.Context()))
}

// oauthStart sends the browser to the sign-in page and gives it the state it
// must bring back. It does so under the host of the redirect address: a cookie
// given at 127.0.0.1 would not come back to localhost.
func (s *Server) oauthStart(w http.ResponseWriter, r *http.Request) {
	client := r.PathValue("client")
	if origin, err := url.Parse(s.opts.Logins.Origin(client)); err == nil && origin.Host != "" &&
		!strings.EqualFold(origin.Host, r.Host) && r.URL.Query().Get("moved") == "" {
		// Once only: a proxy in front may change the host for good.
		http.Redirect(w, r, origin.Scheme+"://"+origin.Host+"/oauth/start/"+url.PathEscape(client)+"?moved=1", http.StatusFound)
		return
	}
	authorizeURL, state, err := s.opts.Logins.Begin(client)
	if err != nil {
		code := http.StatusNotFound
		if fault.Of(err).Code == "not_owner" {
			code = http.StatusConflict // another process takes sign-ins, and the hint says which
		}
		s.failed(w, r, code, err)
		return
	}
	//nolint:gosec // Secure follows the scheme: a loopback http redirect address cannot carry Secure cookies in every browser
	http.SetCookie(w, &http.Cookie{
		Name: s.stateCookie(state), Value: state, Path: "/", MaxAge: 600,
		HttpOnly: true, Secure: s.opts.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, authorizeURL, http.StatusFound)
}

// oauthCallback ends the sign-in. It redirects nowhere, so there is no open
// redirect to abuse.
func (s *Server) oauthCallback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var browserState string
	if cookie, err := r.Cookie(s.stateCookie(query.Get("state"))); err == nil {
		browserState = cookie.Value
		//nolint:gosec // as where it was set
		http.SetCookie(w, &http.Cookie{
			Name: cookie.Name, Path: "/", MaxAge: -1,
			HttpOnly: true, Secure: s.opts.TLS != nil, SameSite: http.SameSiteLaxMode,
		})
	}
	client, account, err := s.opts.Logins.Complete(r.Context(), browserState, query)
	if err != nil {
		s.failed(w, r, http.StatusBadRequest, err)
		return
	}
	s.opts.Log.InfoContext(r.Context(), "access granted", "client", client, "account", account)
	s.render(w, http.StatusOK, "granted", map[string]any{"Client": client, "Account": account})
}

// oauthLogout removes a grant. Browsers of other sites cannot send it: the
// cross-origin protection around all routes refuses them.
func (s *Server) oauthLogout(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Logins.Logout(r.Context(), r.PathValue("client")); err != nil {
		writeJSON(w, http.StatusConflict, Refusal{Error: err.Error(), Hint: fault.HintOf(err)})
		return
	}
	s.opts.Log.InfoContext(r.Context(), "grant removed", "client", r.PathValue("client"))
	w.WriteHeader(http.StatusNoContent)
}

// Refusal is the body of an answer that refuses.
type Refusal struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	// Code is the stable word for the cause, if there is one.
	Code string `json:"code,omitempty"`
}

// stateCookie names the cookie of one sign-in. Each has its own, so that two
// sign-ins in one browser do not overwrite each other's. The __Host- prefix
// keeps other hosts from planting it; browsers accept it on https only.
func (s *Server) stateCookie(state string) string {
	sum := sha256.Sum256([]byte(state))
	name := "outlook-connector-" + hex.EncodeToString(sum[:8])
	if s.opts.TLS != nil {
		name = "__Host-" + name
	}
	return name
}

// failed shows an error to the person in front of the browser. The text comes
// from marked errors, which carry no secrets.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, code int, err error) {
	s.opts.Log.WarnContext(r.Context(), "sign-in refused", "error", err)
	s.render(w, code, "failed", map[string]any{"Error": err.Error(), "Hint": fault.HintOf(err)})
}

// authenticated asks for the credential where one is configured.
func (s *Server) authenticated(next http.HandlerFunc) http.Handler {
	want := sha256.Sum256([]byte(s.opts.Credential.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Credential == "" {
			next(w, r)
			return
		}
		_, given, ok := r.BasicAuth()
		if !ok {
			given = bearer(r)
		}
		// Hashes have one length, so the comparison tells nothing about it.
		if got := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="outlook-connector", charset="UTF-8"`)
			http.Error(w, "the credential of http.credential is needed", http.StatusUnauthorized)
			return
		}
		next(w, r)
	})
}

func bearer(r *http.Request) string {
	const prefix = "Bearer "
	if value := r.Header.Get("Authorization"); len(value) > len(prefix) && value[:len(prefix)] == prefix {
		return value[len(prefix):]
	}
	return ""
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // fails only where the other side went away
}
