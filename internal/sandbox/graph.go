package sandbox

// One request to Graph from arrival to answer, in the order in which Graph
// refuses: token, path, mailbox, permission, body, limits. Then the control
// functions, then the work.
//
// Modelled: request-id and client-request-id, case-insensitive paths, keys in
// parentheses (mailFolders('inbox')), delta in its three spellings, gzip request
// bodies, bodies over 4 MB refused. The parts of a $batch come this way, too
// (batch.go). Left out: compressed answers.

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
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
	route    *route
	params   map[string]string // of the path; those of functions by lower-case name
	chain    []string          // the folders of the path, outermost first
	query    query
	prefer   preferences
	header   http.Header
	body     []byte
	request  *http.Request
	spent    int64       // resource units of the directory,
	used     float64     // and how full its bucket is; see limits_directory.go
	me       bool        // addressed as /me
	part     bool        // of a batch
	saw      func(Write) // of an act: sees what is written
	base     string      // scheme and host for links
	path     string      // the path as it was asked for, escaped
}

// serveGraph answers one request under /v1.0.
func (s *Sandbox) serveGraph(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	c := &call{Sandbox: s, id: newGUID(), header: r.Header, path: r.URL.EscapedPath(), request: r}
	c.clientID = r.Header.Get("client-request-id")
	if c.clientID == "" {
		c.clientID = c.id
	}
	entry := Call{ID: c.id, ClientRequestID: r.Header.Get("client-request-id"), Arrived: arrived, Method: r.Method, Route: r.URL.Path, Path: r.URL.Path, Query: r.URL.RawQuery}
	s.finish(w, r, s.answer(c, r, &entry), entry)
}

// answer does one request and turns what came of it into an answer.
func (s *Sandbox) answer(c *call, r *http.Request, entry *Call) *Answer {
	a, err := s.graph(c, r, entry)
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
	return a
}

// finish writes the answer and the log. The log comes first, so that a client
// that has its answer finds the entry.
func (s *Sandbox) finish(w http.ResponseWriter, r *http.Request, a *Answer, entry Call) {
	entry.Finished, entry.Status, entry.Code = time.Now(), a.Status, errorCode(a)
	if a.Reset && a.Cut == 0 {
		entry.Status, entry.Code = 0, ""
	}
	s.calls.add(entry)
	if s.log.Enabled(r.Context(), slog.LevelDebug) { // the arguments alone would cost
		s.log.DebugContext(r.Context(), "request", "method", entry.Method, "route", entry.Route, "mailbox", entry.Mailbox,
			"status", entry.Status, "code", entry.Code, "request_id", entry.ID, "took", entry.Finished.Sub(entry.Arrived))
	}
	s.write(w, a)
}

func (s *Sandbox) graph(c *call, r *http.Request, entry *Call) (*Answer, error) {
	var err error
	if c.token, err = s.authenticate(r); err != nil {
		return nil, err
	}
	entry.App = c.token.AppID
	c.base = s.root(r)
	segs, args, err := splitPath(c.path)
	if err != nil {
		return nil, err
	}
	rt, err := s.find(c, r.Method, segs, args, entry)
	if err != nil {
		return nil, err
	}
	c.route = rt
	if c.box, err = s.boxOf(c, rt.directory); err != nil {
		return nil, err
	}
	if c.box.kind != kindDirectory {
		entry.Mailbox = c.box.UPN
	}
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
	key, err := c.enter(entry)
	if err != nil {
		return nil, err
	}
	defer s.limits.leave(key)

	req := &Request{
		ID: c.id, Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Route: entry.Route,
		App: c.token.AppID, Mailbox: c.box.UPN, Header: r.Header, Body: c.body, URL: c.base + r.URL.RequestURI(),
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
		c.tellUnits(a)
	}
	for _, fn := range req.after {
		fn(a)
	}
	s.limits.park(key, a.Status, a.Header, time.Now())
	return a, nil
}

// splitPath cuts an escaped path after /v1.0 into segments, unescapes them, turns
// name('key') into two and takes the arguments out of name(a='1',b='2'); their
// names are given in lower case.
func splitPath(escaped string) (segs []string, args map[string]string, err error) {
	for _, p := range strings.Split(strings.Trim(escaped, "/"), "/")[1:] {
		seg, err := url.PathUnescape(p)
		if err != nil {
			return nil, nil, errParseURI("Bad escape in the path.")
		}
		if seg == "" {
			return nil, nil, errParseURI("Invalid: an empty segment in the path.")
		}
		name, key, found := strings.Cut(seg, "(")
		key, closed := strings.CutSuffix(key, ")")
		switch {
		case !found || !closed || name == "" || key == "":
			segs = append(segs, seg)
		case strings.HasPrefix(key, "'") && strings.HasSuffix(key, "'") && len(key) > 1:
			segs = append(segs, name, strings.ReplaceAll(key[1:len(key)-1], "''", "'"))
		default:
			segs = append(segs, name)
			for pair := range strings.SplitSeq(key, ",") {
				arg, value, _ := strings.Cut(pair, "=")
				if args == nil {
					args = map[string]string{}
				}
				args[strings.ToLower(strings.TrimSpace(arg))] = strings.Trim(strings.TrimSpace(value), "'")
			}
		}
	}
	return segs, args, nil
}

// boxOf finds whose data the path is about: a person's mailbox, a group's, or
// the directory.
func (s *Sandbox) boxOf(c *call, directory bool) (*mailbox, error) {
	name, person := c.params["user-id"]
	if !person {
		name = c.params["group-id"]
	}
	var box *mailbox
	s.read(func(st *state) {
		if name == "" {
			box = st.directory
			return
		}
		box = st.byName[strings.ToLower(name)]
		if box != nil && (box.kind == kindPerson) != person {
			box = nil
		}
	})
	switch {
	case box != nil:
		return box, nil
	case directory || !person:
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
	buf.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
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
