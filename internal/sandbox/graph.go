package sandbox

// One request to Graph from arrival to answer, in the order in which Graph
// refuses: token, path, mailbox, permission, body, limits. Then the control
// functions, then the work.
//
// Modelled: request-id and client-request-id, case-insensitive paths, keys in
// parentheses (mailFolders('inbox')), delta in its three spellings, gzip request
// bodies, bodies over 4 MB refused. Left out: compressed answers, $batch.

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxBody is the size of a request that Graph takes.
const maxBody = 4 << 20

// call is a request on its way through a handler.
type call struct {
	*Sandbox
	id       string
	clientID string
	token    claims
	box      *mailbox
	params   map[string]string
	query    query
	prefer   preferences
	header   http.Header
	body     []byte
	me       bool   // addressed as /me
	base     string // scheme and host for links
	path     string // the path as it was asked for, escaped
}

// serveGraph answers one request under /v1.0.
func (s *Sandbox) serveGraph(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	c := &call{Sandbox: s, id: newGUID(), header: r.Header, path: r.URL.EscapedPath()}
	c.clientID = r.Header.Get("client-request-id")
	if c.clientID == "" {
		c.clientID = c.id
	}
	entry := Call{ID: c.id, ClientRequestID: r.Header.Get("client-request-id"), Arrived: arrived, Method: r.Method, Route: r.URL.Path, Path: r.URL.Path, Query: r.URL.RawQuery}
	a, err := s.graph(c, r, &entry)
	if err != nil {
		ge, ok := errors.AsType[*graphError](err)
		if !ok {
			s.log.ErrorContext(r.Context(), "request failed inside the sandbox", "request_id", c.id, "error", err.Error())
			ge = newError(http.StatusInternalServerError, "ErrorInternalServerError", "%v", err)
		}
		a = ge.answer(c.id, c.clientID, time.Now())
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set("request-id", c.id)
	a.Header.Set("client-request-id", c.clientID)
	s.finish(w, r, a, entry)
}

// finish writes the answer and the log. The log comes first, so that a client
// that has its answer finds the entry.
func (s *Sandbox) finish(w http.ResponseWriter, r *http.Request, a *Answer, entry Call) {
	entry.Finished, entry.Status, entry.Code = time.Now(), a.Status, errorCode(a)
	if a.Reset {
		entry.Status, entry.Code = 0, ""
	}
	s.calls.add(entry)
	s.log.DebugContext(r.Context(), "request", "method", entry.Method, "route", entry.Route, "mailbox", entry.Mailbox,
		"status", entry.Status, "code", entry.Code, "request_id", entry.ID, "took", entry.Finished.Sub(entry.Arrived))
	if a.Reset {
		reset(w)
		return
	}
	maps.Copy(w.Header(), a.Header)
	if a.Status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	// The client may be gone; the effect stands.
	_, _ = w.Write(a.Body) //nolint:gosec // JSON, or HTML that html/template escaped
}

// reset cuts the connection as a broken network does: with RST where the
// system allows it.
func reset(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (s *Sandbox) graph(c *call, r *http.Request, entry *Call) (*Answer, error) {
	var err error
	if c.token, err = s.authenticate(r); err != nil {
		return nil, err
	}
	entry.App = c.token.AppID
	c.base = s.root(r)
	segs, err := splitPath(c.path)
	if err != nil {
		return nil, err
	}
	rt, err := s.find(c, r.Method, segs, entry)
	if err != nil {
		return nil, err
	}
	if c.box, err = s.mailboxOf(c, segs, rt.directory); err != nil {
		return nil, err
	}
	entry.Mailbox = c.box.UPN
	if err := rt.permitted(c.token, c.box); err != nil {
		return nil, err
	}
	if c.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	c.prefer = parsePrefer(r.Header)
	if c.body, err = readBody(r); err != nil {
		return nil, err
	}
	key := limitKey{c.token.AppID, c.box.ID}
	offence, refused := s.limits.enter(key, s.opts.concurrency, entry.Arrived)
	entry.Offence = offence
	if refused {
		e := errMailboxConcurrency(s.opts.retryAfter)
		s.limits.park(key, e.status, e.header, time.Now())
		return nil, e
	}
	defer s.limits.leave(key)

	req := &Request{
		ID: c.id, Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Route: entry.Route,
		App: c.token.AppID, Mailbox: c.box.UPN, Header: r.Header, Body: c.body,
	}
	entry.Fault = s.control(req, c.box.ID)
	s.obey(req)
	a := req.answer
	if a == nil {
		if a, err = rt.handle(c); err != nil {
			ge, ok := errors.AsType[*graphError](err)
			if !ok {
				return nil, err
			}
			a = ge.answer(c.id, c.clientID, time.Now())
		}
	}
	for _, fn := range req.after {
		fn(a)
	}
	s.limits.park(key, a.Status, a.Header, time.Now())
	return a, nil
}

// splitPath cuts an escaped path after /v1.0 into segments, unescapes them and
// turns name('key') into two.
func splitPath(escaped string) ([]string, error) {
	parts := strings.Split(strings.Trim(escaped, "/"), "/")[1:]
	var segs []string
	for _, p := range parts {
		seg, err := url.PathUnescape(p)
		if err != nil {
			return nil, errParseURI("Bad escape in the path.")
		}
		if seg == "" {
			return nil, errParseURI("Invalid: an empty segment in the path.")
		}
		name, key, found := strings.Cut(seg, "('")
		if found && strings.HasSuffix(key, "')") && name != "" {
			segs = append(segs, name, strings.ReplaceAll(strings.TrimSuffix(key, "')"), "''", "'"))
			continue
		}
		segs = append(segs, seg)
	}
	return segs, nil
}

// mailboxOf finds the mailbox that the path names.
func (s *Sandbox) mailboxOf(c *call, segs []string, directory bool) (*mailbox, error) {
	name := c.token.OID
	if !c.me {
		name = segs[1]
	}
	var box *mailbox
	s.read(func(st *state) { box = st.byName[strings.ToLower(name)] })
	switch {
	case box != nil:
		return box, nil
	case directory:
		return nil, newError(http.StatusNotFound, "Request_ResourceNotFound",
			"Resource '%s' does not exist or one of its queried reference-property objects are not present.", name)
	}
	return nil, newError(http.StatusNotFound, "ErrorInvalidUser", "The requested user '%s' is invalid.", name)
}

// readBody reads and unpacks the body.
func readBody(r *http.Request) ([]byte, error) {
	tooBig := newError(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request is larger than 4 MB.")
	if r.ContentLength > maxBody {
		return nil, tooBig
	}
	var src io.Reader = r.Body
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, newError(http.StatusBadRequest, "BadRequest", "The body is not gzip, though Content-Encoding says so.")
		}
		src = z
	default:
		return nil, newError(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "Content-Encoding %q is not supported.", enc)
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(src, maxBody+1))
	if err != nil {
		return nil, newError(http.StatusBadRequest, "BadRequest", "The body could not be read.")
	}
	if n > maxBody {
		return nil, tooBig
	}
	return buf.Bytes(), nil
}

// newGUID is a random GUID.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return guid(b[:])
}
