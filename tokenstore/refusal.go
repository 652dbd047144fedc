package tokenstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"outlook-connector/internal/fault"
)

const (
	// maxRetryAfter bounds what a server can make us wait.
	maxRetryAfter = 15 * time.Minute
	// throttledWait is for a throttle that does not say for how long.
	throttledWait = 5 * time.Minute
	// retryLoop is AADSTS50196: the server found this client asking in a loop
	// and refuses for a while, with the error word of a dead grant. Error
	// numbers may change, so this one may only make us wait.
	// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
	retryLoop = 50196
	// unprovenWait is how soon a credential that could not be used is looked at
	// again: that costs the sign-in server nothing.
	unprovenWait = 30 * time.Second
)

// verdict is what an answer of the token endpoint means for the grant.
type verdict int

const (
	// transient: the endpoint could not be reached or could not answer.
	transient verdict = iota
	// throttled: it asks us to wait.
	throttled
	// refused: it refuses the refresh token; perhaps for good.
	refused
	// person: it says in so many words that a person must sign in.
	person
	// administrator: it refuses the application, not the grant.
	administrator
)

// refusal is a token request that gave no token. It holds nothing of what was
// sent, and of the answer only words, numbers and ids of a checked shape: a
// proxy's error page can repeat the whole request, and url.Error prints an
// address with the code in it.
type refusal struct {
	status  int    // of the answer; 0 where there was none
	code    string // RFC 6749's "error"
	suberr  string
	numbers []int  // AADSTS numbers, for people only
	trace   string // ids for a support request
	corr    string
	after   time.Duration
	claims  string // what the next sign-in must ask for; never printed
	cause   error  // a safe one; nil where there was an answer
	// unproven: the client's own credential cannot be used, so nothing was sent.
	// hint says what to do about it.
	unproven bool
	hint     string
	// appOnly: nobody signs in for this client, so no sign-in can help it.
	appOnly bool
	// shown is the key of the configuration with what the client showed; empty
	// for a public client.
	shown string
}

// asRefusal returns the refusal that err is.
func asRefusal(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	return &refusal{cause: errUnusable}
}

// waits says that this is how a device code's sign-in goes on: nothing failed.
func (r *refusal) waits() bool { return r.code == codePending || r.code == codeSlowDown }

func (r *refusal) Error() string {
	var text strings.Builder
	if r.unproven {
		return "the client cannot show who it is: " + r.cause.Error()
	}
	text.WriteString("token endpoint")
	switch {
	case r.cause != nil:
		text.WriteString(": " + r.cause.Error())
	case r.code != "":
		fmt.Fprintf(&text, ": %d %s", r.status, r.code)
	default:
		fmt.Fprintf(&text, ": %d without an OAuth error", r.status)
	}
	if r.suberr != "" {
		text.WriteString("/" + r.suberr)
	}
	for _, number := range r.numbers {
		fmt.Fprintf(&text, " AADSTS%d", number)
	}
	if usual := usually(r.numbers); usual != "" {
		text.WriteString(", which usually means that " + usual)
	}
	if r.trace != "" {
		text.WriteString(" (trace " + r.trace)
		if r.corr != "" {
			text.WriteString(", correlation " + r.corr)
		}
		text.WriteString(")")
	}
	return text.String()
}

func (r *refusal) Unwrap() error { return r.cause }

// verdict decides by "error" and the status; numbers and texts of the sign-in
// server change without notice.
func (r *refusal) verdict() verdict {
	switch {
	case r.unproven:
		return administrator
	case r.status == http.StatusTooManyRequests || slices.Contains(r.numbers, retryLoop):
		return throttled
	case r.status == 0 || r.status >= 500:
		return transient
	}
	switch r.code {
	case "invalid_grant":
		if r.appOnly {
			return administrator
		}
		return refused
	case "interaction_required", "consent_required", "login_required":
		if r.appOnly {
			return administrator
		}
		return person
	case "", "temporarily_unavailable", "server_error", "slow_down", "request_timeout":
		return transient
	default:
		// invalid_client, unauthorized_client, invalid_scope, invalid_resource,
		// invalid_request, unsupported_grant_type, access_denied and whatever
		// comes: the same request will not work before somebody changes something.
		return administrator
	}
}

// errUnusable stands for causes whose text cannot be trusted to be free of what
// was sent, such as "malformed HTTP response" with the response.
var errUnusable = errors.New("no usable answer")

var (
	word = regexp.MustCompile(`^[a-z][a-z_]{0,63}$`)
	guid = regexp.MustCompile(`^[0-9a-fA-F-]{36}$`)
)

// refusal reads an answer that gave no token.
func (r *response) refusal() *refusal {
	out := &refusal{status: r.status, after: retryAfter(r.header.Get("Retry-After"), time.Now())}
	var more struct {
		Error         any    `json:"error"`
		Suberror      any    `json:"suberror"`
		ErrorCodes    []int  `json:"error_codes"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		Claims        any    `json:"claims"`
	}
	_ = json.Unmarshal(r.body, &more) // half an answer tells half
	if code, ok := more.Error.(string); ok && code != "" {
		out.code = "unreadable_error"
		if word.MatchString(code) {
			out.code = code
		}
	}
	if suberror, ok := more.Suberror.(string); ok && word.MatchString(suberror) {
		out.suberr = suberror
	}
	out.numbers = more.ErrorCodes[:min(len(more.ErrorCodes), 4)]
	if guid.MatchString(more.TraceID) {
		out.trace = more.TraceID
	}
	if guid.MatchString(more.CorrelationID) {
		out.corr = more.CorrelationID
	}
	if claims, ok := more.Claims.(string); ok {
		out.claims = validClaims(claims)
	}
	return out
}

// safeCause keeps of an error what is known to repeat nothing of the request.
func safeCause(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("no answer in %s: %w", tokenTimeout, context.DeadlineExceeded)
	case errors.Is(err, errForeignHost):
		return errForeignHost
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the connection was closed: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, http.ErrSchemeMismatch):
		return http.ErrSchemeMismatch
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return e
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return e
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return errUnusable
}

// retryAfter reads a Retry-After header: seconds, with a fraction or not, or a
// date. Zero means that it says nothing usable.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	wait := time.Duration(0)
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(seconds) {
		wait = time.Duration(max(0, min(seconds, maxRetryAfter.Seconds())) * float64(time.Second))
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}

// fault marks the refusal for those who asked for a token of the client.
func (r *refusal) fault(client string) *fault.Error {
	code := r.code
	if code == "" {
		code = "token_endpoint"
	}
	wrapped := fault.New(fault.Retry, "token of %s: %w", client, r).WithCode(code)
	wrapped.After = r.after
	switch r.verdict() {
	case transient:
		if r.code == "" && r.status < 500 && (r.cause == nil || errors.Is(r.cause, errUnusable)) {
			return wrapped.WithHint("The answer is not that of a sign-in server: check token_url of client %s, and the proxy.", client)
		}
		return wrapped.WithHint("The sign-in server does not answer; it is asked again.")
	case throttled:
		if wrapped.After == 0 {
			wrapped.After = throttledWait
		}
		return wrapped.WithHint("The sign-in server asks to wait. If this goes on, look for other programs that use the client id of %s.", client)
	case administrator:
		wrapped.Kind = fault.Reauth
		if r.unproven {
			wrapped.After = unprovenWait
			return wrapped.WithHint("%s", r.hint)
		}
		wrapped.After = throttledWait
		return wrapped.WithHint("%s", administratorHint(client, r.code, r.shown, r.appOnly))
	default:
		wrapped.Kind = fault.Reauth
		return wrapped.WithHint("%s", signInHint(client))
	}
}
