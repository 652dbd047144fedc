package sandbox

// Outlook's own address of upload sessions. It is not part of Graph: another
// path, no bearer token, no gzip, and what the address says is all the right that
// is needed. Requests are in the log and can be given faults under the route
// /outlook-upload; they are in no mailbox's count of open requests, but their
// bytes are in its upload limit.

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"
)

const uploadPath = "outlook-upload"

func (s *Sandbox) serveUpload(w http.ResponseWriter, r *http.Request) {
	id := newGUID()
	entry := Call{ID: id, ClientRequestID: r.Header.Get("client-request-id"), Arrived: time.Now(), Method: r.Method, Route: "/" + uploadPath, Path: r.URL.Path}
	req := &Request{ID: id, Method: r.Method, Path: r.URL.Path, Route: "/" + uploadPath, Header: r.Header, URL: s.root(r) + r.URL.RequestURI()}
	a, err := s.uploadRequest(r, req, &entry) //nolint:contextcheck // what it causes outlives it
	if err != nil {
		ge, ok := errors.AsType[*graphError](err)
		if !ok {
			ge = newError(http.StatusInternalServerError, "ErrorInternalServerError", "%v", err)
		}
		a = ge.answer(id, r.Header.Get("client-request-id"), time.Now())
	}
	for _, fn := range req.after {
		fn(a)
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set("request-id", id)
	s.finish(w, r, a, entry)
}

func (s *Sandbox) uploadRequest(r *http.Request, req *Request, entry *Call) (*Answer, error) {
	_, name, _ := strings.Cut(r.URL.Path, "/AttachmentSessions('")
	name, _ = strings.CutSuffix(name, "')")
	u, err := s.upload(name)
	if err != nil {
		return nil, err
	}
	if u.rules.address != nil {
		return nil, errItemNotFound()
	}
	entry.App, entry.Mailbox = u.key.app, u.upn
	req.App, req.Mailbox = u.key.app, u.upn
	if r.Header.Get("Authorization") != "" || subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("authtoken")), []byte(u.token)) != 1 {
		return nil, newError(http.StatusUnauthorized, "InvalidAuthenticationToken",
			"The upload session wants the token of its address and no Authorization header.")
	}
	entry.Fault = s.control(req, u.key.mailbox)
	s.obey(req)
	if req.answer != nil {
		return req.answer, nil
	}
	switch r.Method {
	case http.MethodPut:
		return s.take(u, r.Header.Get("Content-Range"), r.ContentLength, r.Body)
	case http.MethodGet:
		return s.uploadState(u)
	case http.MethodDelete:
		return s.cancel(u)
	}
	return nil, newError(http.StatusMethodNotAllowed, "BadRequest", "Specified HTTP method is not allowed for the request target.").
		with("Allow", "DELETE, GET, PUT")
}
