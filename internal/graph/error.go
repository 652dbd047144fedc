package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"outlook-connector/internal/seal"
)

// Error is an answer of Graph that is not a success, with what support wants
// to know: https://learn.microsoft.com/graph/errors. It stands inside the
// fault.Error that says what to do about it.
type Error struct {
	// Method and Template say what was called, without any id.
	Method, Template string
	// Status is the HTTP status.
	Status int
	// Code is the most specific code of the answer that this program knows,
	// else the outer one; empty where the answer has none.
	Code string
	// Message is Graph's text or, where the body is not Graph's, its
	// beginning; at most 256 bytes, without anything that looks like a secret.
	Message string
	// RequestID and ClientRequestID name the request to Microsoft's support.
	RequestID, ClientRequestID string
	// Date is the answer's own time; zero if it has none.
	Date time.Time
	// ExistingID is the id of the item that exists already, where Graph names
	// it ("@event.existingEventId" beside ErrorDuplicateTransactionId).
	ExistingID string
	// Claims is the JSON of a claims challenge (401 or 403): what the next token
	// must hold. It is for the sign-in server and no secret.
	Claims string
}

// Error returns one line with the call, the status, the code and the ids.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d %s", e.Method, e.Template, e.Status, e.Code)
	if e.Code == "" {
		b.WriteString(http.StatusText(e.Status))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	fmt.Fprintf(&b, " (request-id %s, client-request-id %s)", e.RequestID, e.ClientRequestID)
	return b.String()
}

// details is what an error body tells.
type details struct {
	codes      []string // from the outer to the innermost
	message    string
	existingID string
	graph      bool // the body has the shape of Graph's errors
}

// maxNesting bounds how deep inner errors are followed.
const maxNesting = 16

// parseDetails reads an error body of any kind: Graph's, one with inner errors
// in either spelling and any depth, a sign-in server's, HTML, nothing at all.
// It never fails; what cannot be read is left out.
func parseDetails(body []byte) details {
	var d details
	var outer map[string]json.RawMessage
	if json.Unmarshal(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\ufeff")), &outer) != nil {
		return d
	}
	var text string
	if json.Unmarshal(outer["error"], &text) == nil && text != "" {
		d.codes, d.graph = []string{clip(text, 128)}, true
		_ = json.Unmarshal(outer["error_description"], &d.message) // any other type is no message
		return d
	}
	next := outer["error"]
	for range maxNesting {
		var node map[string]json.RawMessage
		if json.Unmarshal(next, &node) != nil || node == nil {
			break
		}
		d.graph = true
		next = nil
		for _, name := range slices.Sorted(maps.Keys(node)) {
			value := node[name]
			// The schema spells innererror what comes as innerError.
			switch strings.ToLower(name) {
			case "code":
				if code := plainCode(value); code != "" {
					d.codes = append(d.codes, code)
				}
			case "message":
				if d.message == "" {
					_ = json.Unmarshal(value, &d.message) // any other type is no message
				}
			case "@event.existingeventid":
				_ = json.Unmarshal(value, &d.existingID)
			case "innererror":
				next = value
			}
		}
		if next == nil {
			break
		}
	}
	return d
}

// plainCode returns a code that is a word. Numbers ("429" as a code inside
// TooManyRequests) say nothing that the status does not say.
func plainCode(raw json.RawMessage) string {
	var code string
	if json.Unmarshal(raw, &code) != nil || len(code) > 128 {
		return ""
	}
	code = strings.TrimSpace(code)
	if strings.IndexFunc(code, unicode.IsLetter) < 0 || strings.IndexFunc(code, unicode.IsControl) >= 0 {
		return ""
	}
	return code
}

// best returns the innermost code with a remedy of its own, else the outermost.
func (d details) best() string {
	for _, code := range slices.Backward(d.codes) {
		if _, ok := lookCode(code); ok {
			return code
		}
	}
	if len(d.codes) > 0 {
		return d.codes[0]
	}
	return ""
}

// maxSnippet bounds what of a foreign text comes into errors and logs.
const maxSnippet = 256

var (
	spaces = regexp.MustCompile(`[\s\p{C}]+`)
	// secretLike finds bearer values, what follows a telling name, JWTs, and
	// long runs without a space: keys, tokens, ids. An error text loses nothing
	// that matters by it.
	secretLike = regexp.MustCompile(`(?i)(bearer\s+|(?:token|secret|password|assertion|signature|\bsig|\bcode)"?\s*[=:]\s*"?)[^\s"&,;<>]+` +
		`|eyJ[\w-]{8,}[\w.=-]*|[\w+/=~.%-]{48,}`)
)

// snippet makes the beginning of a foreign text fit for an error: one line, at
// most 256 bytes, and without what looks like a secret. It redacts before it
// cuts, so that no half of a token is left standing.
func snippet(text string, secret seal.Secret) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if value := secret.Reveal(); value != "" {
		text = strings.ReplaceAll(text, value, "«redacted»")
	}
	text = secretLike.ReplaceAllString(text, "$1«redacted»")
	return clip(strings.TrimSpace(spaces.ReplaceAllString(text, " ")), maxSnippet)
}

// clip cuts a text to at most n bytes without cutting a character.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	cut := n - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
