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

	"golang.org/x/oauth2"

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
// proxy's error page can repeat the whole request, and oauth2.RetrieveError
// would print it, as url.Error prints an address with the code in it.
type refusal struct {
	status  int    // of the answer; 0 where there was none
	code    string // RFC 6749's "error"
	suberr  string
	numbers []int  // AADSTS numbers, for people only
	trace   string // ids for a support request
	corr    string
	after   time.Duration
	cause   error // a safe one; nil where there was an answer
}

func (r *refusal) Error() string {
	var text strings.Builder
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
	case r.status == http.StatusTooManyRequests || slices.Contains(r.numbers, retryLoop):
		return throttled
	case r.status == 0 || r.status >= 500:
		return transient
	}
	switch r.code {
	case "invalid_grant":
		return refused
	case "interaction_required", "consent_required", "login_required":
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

// describe turns an error of x/oauth2 into a refusal.
func describe(err error) *refusal {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || answer.Response == nil {
		return &refusal{cause: safeCause(err)}
	}
	r := &refusal{status: answer.Response.StatusCode, after: retryAfter(answer.Response.Header.Get("Retry-After"), time.Now())}
	if word.MatchString(answer.ErrorCode) {
		r.code = answer.ErrorCode
	} else if answer.ErrorCode != "" {
		r.code = "unreadable_error"
	}
	var more struct {
		Suberror      string `json:"suberror"`
		ErrorCodes    []int  `json:"error_codes"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
	}
	if json.Unmarshal(answer.Body, &more) != nil {
		return r
	}
	if word.MatchString(more.Suberror) {
		r.suberr = more.Suberror
	}
	r.numbers = more.ErrorCodes[:min(len(more.ErrorCodes), 4)]
	if guid.MatchString(more.TraceID) {
		r.trace = more.TraceID
	}
	if guid.MatchString(more.CorrelationID) {
		r.corr = more.CorrelationID
	}
	return r
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

// signInHint is what a person does about a grant that is gone.
func signInHint(client string) string {
	return "outlook-connector auth login " + client
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
		if r.code == "" && (r.cause == nil || errors.Is(r.cause, errUnusable)) {
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
		wrapped.After = throttledWait
		return wrapped.WithHint("%s", administratorHint(client, r.code))
	default:
		wrapped.Kind = fault.Reauth
		return wrapped.WithHint("%s", signInHint(client))
	}
}

func administratorHint(client, code string) string {
	switch code {
	case "invalid_client":
		return fmt.Sprintf("Check client_id and client_secret of client %s: the secret's value is needed, not its id, and it may have expired. Then start again.", client)
	case "unauthorized_client":
		return fmt.Sprintf("Check tenant and client_id of client %s, and that the app registration is enabled and allows this grant.", client)
	case "invalid_scope", "invalid_resource", "invalid_target":
		return fmt.Sprintf("Check scopes of client %s.", client)
	default:
		return fmt.Sprintf("An administrator must look at the app registration and the settings of client %s.", client)
	}
}
