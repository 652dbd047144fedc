package sandbox

// Graph's error bodies. Modelled: error.code, error.message and
// error.innerError with date, request-id and client-request-id
// (https://learn.microsoft.com/graph/errors). Left out: details[], nested inner
// errors, texts in other languages.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// graphError is an answer other than success, as Graph words it.
type graphError struct {
	status  int
	code    string
	message string
	header  http.Header
	// innerCode and innerMessage are in innerError of Graph's own 429, the
	// first as its status, too.
	innerCode, innerMessage string
}

// Error makes graphError an error, so that handlers can return it.
func (e *graphError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message)
}

// innerStatus is the inner code where it is one of HTTP's.
func (e *graphError) innerStatus() string {
	if _, err := strconv.Atoi(e.innerCode); err != nil {
		return ""
	}
	return e.innerCode
}

func newError(status int, code, format string, args ...any) *graphError {
	return &graphError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// with adds a header to the answer.
func (e *graphError) with(name, value string) *graphError {
	if e.header == nil {
		e.header = http.Header{}
	}
	e.header.Set(name, value)
	return e
}

func errItemNotFound() *graphError {
	return newError(http.StatusNotFound, "ErrorItemNotFound",
		"The specified object was not found in the store.")
}

func errIDMalformed() *graphError {
	return newError(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
}

func errAccessDenied() *graphError {
	return newError(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

// errParseURI is what Graph's front end says about a query option or a property
// name in it that it does not know.
func errParseURI(format string, args ...any) *graphError {
	return newError(http.StatusBadRequest, "RequestBroker--ParseUri", format, args...)
}

// errBody is what the Outlook service says about a body that it cannot read.
func errBody(format string, args ...any) *graphError {
	return newError(http.StatusBadRequest, "RequestBodyRead", format, args...)
}

// errNotModelled marks the edge of this sandbox. Graph has no such code, so a
// test that meets it knows that the sandbox, not the program, is short.
func errNotModelled(what string) *graphError {
	return newError(http.StatusNotImplemented, "SandboxNotModelled", "The sandbox does not model %s.", what)
}

type errorBody struct {
	Error errorBodyInner `json:"error"`
}

type errorBodyInner struct {
	Code       string     `json:"code"`
	Message    string     `json:"message"`
	InnerError innerError `json:"innerError"`
}

type innerError struct {
	Code            string `json:"code,omitempty"`
	Date            string `json:"date"`
	Message         string `json:"message,omitempty"`
	RequestID       string `json:"request-id"`
	ClientRequestID string `json:"client-request-id"`
	Status          string `json:"status,omitempty"`
}

// answer turns the error into the bytes that go out.
func (e *graphError) answer(requestID, clientRequestID string, now time.Time) *Answer {
	body, err := json.Marshal(errorBody{errorBodyInner{
		Code: e.code, Message: e.message,
		InnerError: innerError{
			// Without a zone, as on the wire.
			Date:            now.UTC().Format("2006-01-02T15:04:05"),
			RequestID:       requestID,
			ClientRequestID: clientRequestID,
			Code:            e.innerCode,
			Message:         e.innerMessage,
			Status:          e.innerStatus(),
		},
	}})
	if err != nil { // three strings cannot fail to marshal
		body = []byte(`{"error":{"code":"generalException"}}`)
	}
	a := &Answer{Status: e.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
	maps.Copy(a.Header, e.header)
	return a
}
