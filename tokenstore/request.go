package tokenstore

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/seal"
)

// tokenAnswer is the body of a success (RFC 6749, 5.1).
type tokenAnswer struct {
	Access  string   `json:"access_token"`
	Refresh string   `json:"refresh_token"`
	Life    lifetime `json:"expires_in"`
	// A token of a type that we do not know must not be used (RFC 6749, 7.1).
	Type any `json:"token_type"`
	// These three only inform: of another type than text they are left out.
	Scope   any    `json:"scope"`
	IDToken any    `json:"id_token"`
	Error   string `json:"error"` // some servers say it with 200
}

// lifetime is expires_in in seconds, which some servers send as text.
type lifetime int64

// UnmarshalJSON reads a number, a number in quotes, or null.
func (l *lifetime) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "null" || text == "" {
		return nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return errUnusable // the parser's error would repeat the text
	}
	*l = lifetime(max(-1, min(seconds, 1<<31))) // NaN becomes some number out of range; both are refused as a life
	return nil
}

// token makes one token request and reads its answer.
func (e *endpoint) token(ctx context.Context, form url.Values) (answer, error) {
	form.Set("client_id", e.client.ClientID)
	asked := time.Now()
	if e.proof != nil {
		if err := e.proof.prove(form, asked); err != nil {
			return answer{}, err
		}
	}
	reply, refused := e.post(ctx, e.client.TokenURL, form)
	var got tokenAnswer
	if refused == nil && (json.Unmarshal(reply.body, &got) != nil || got.Access == "") {
		refused = reply.noTokens()
	}
	if kind, given := got.Type.(string); refused == nil && given && !strings.EqualFold(kind, "Bearer") {
		refused = &refusal{status: reply.status, code: "unsupported_token_type"}
	}
	if refused != nil {
		refused.shown, refused.appOnly = e.client.shown(), e.client.appOnly()
		return answer{}, refused
	}
	return got.read(asked), nil
}

// read takes from an answer what we keep. The life of the token is counted from
// before the request: the server began to count at some moment after that.
func (t *tokenAnswer) read(asked time.Time) answer {
	life := time.Duration(t.Life) * time.Second
	if t.Life <= 0 || life > maxLife {
		life = defaultLife
	}
	a := answer{access: seal.Secret(t.Access), refresh: seal.Secret(t.Refresh), issued: asked, expiry: asked.Add(life)}
	if scope, ok := t.Scope.(string); ok {
		a.scopes = strings.Fields(scope)
	}
	if idToken, ok := t.IDToken.(string); ok {
		a.account = readAccount(idToken)
	}
	return a
}

// response is an answer of the sign-in server with its body.
type response struct {
	status int
	header http.Header
	body   []byte
}

// noTokens is what becomes of a success without a token in it.
func (r *response) noTokens() *refusal {
	if refused := r.refusal(); refused.code != "" {
		return refused
	}
	return &refusal{cause: errUnusable}
}

// post sends a form and returns the answer of a success. The request is made
// once.
func (e *endpoint) post(ctx context.Context, address string, form url.Values) (*response, *refusal) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, &refusal{cause: errUnusable}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.GetBody = nil // net/http must not send it again by itself
	began := time.Now()
	got, refused := e.send(request)
	if refused != nil && repeats(refused.claims, form) {
		refused.claims = "" // it would go into the address of the next sign-in
	}
	e.note(ctx, form, address, got, refused, time.Since(began), request.ContentLength)
	return got, refused
}

// repeats reports whether a text holds something secret of a form.
func repeats(text string, form url.Values) bool {
	for _, key := range []string{"client_secret", "client_assertion", "refresh_token", "code", "code_verifier", "device_code"} {
		if secret := form.Get(key); secret != "" && strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

func (e *endpoint) send(request *http.Request) (*response, *refusal) {
	resp, err := e.http.Do(request)
	if err != nil {
		return nil, &refusal{cause: safeCause(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, &refusal{cause: safeCause(err)}
	}
	got := &response{status: resp.StatusCode, header: resp.Header, body: bytes.TrimPrefix(body, []byte("\ufeff"))}
	if got.status < 200 || got.status > 299 {
		return got, got.refusal()
	}
	return got, nil
}

// note counts a request and, where that is wanted, traces and logs it: never a header, a
// body or a token.
func (e *endpoint) note(ctx context.Context, form url.Values, address string, got *response, refused *refusal, took time.Duration, sent int64) {
	retry := e.failing.Load()
	switch {
	case refused == nil:
		e.failing.Store(0)
	case !refused.waits():
		e.failing.Add(1)
	}
	if e.tracer != nil {
		e.trace(ctx, requestSpan{form.Get("grant_type"), address, got, refused, took, sent, retry})
	}
	if !e.client.LogRequests {
		return
	}
	attrs := []slog.Attr{
		slog.String("client", e.client.Name), slog.String("method", http.MethodPost), slog.String("path", pathTemplate(address)),
		slog.String("grant", shortGrant(form.Get("grant_type"))), slog.Int64("ms", took.Milliseconds()), slog.Int64("retry", retry),
		slog.Int64("sent_bytes", sent),
	}
	if got != nil {
		id := got.header.Get("x-ms-request-id")
		if !guid.MatchString(id) {
			id = ""
		}
		attrs = append(attrs, slog.Int("status", got.status), slog.String("request_id", id), slog.Int("body_bytes", len(got.body)))
	}
	if refused != nil {
		attrs = append(attrs, slog.String("code", refused.code), slog.String("trace_id", refused.trace), slog.String("correlation_id", refused.corr))
		if refused.cause != nil {
			attrs = append(attrs, slog.String("error", refused.cause.Error()))
		}
	}
	e.log.LogAttrs(ctx, slog.LevelInfo, "sign-in request", attrs...)
}

// shortGrant names a grant type; a request without one asks for a device code.
func shortGrant(name string) string {
	switch name {
	case "":
		return "device_authorization"
	case deviceGrant:
		return string(GrantDevice)
	default:
		return name
	}
}

// pathTemplate is the path of an address with the tenant taken out.
func pathTemplate(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	parts := strings.Split(u.Path, "/")
	if i := slices.Index(parts, "oauth2"); i == 2 {
		parts[1] = "{tenant}"
	}
	return strings.Join(parts, "/")
}
