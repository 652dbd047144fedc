package graph

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// Upload is an upload session of a large attachment, as createUploadSession
// answered it: https://learn.microsoft.com/graph/outlook-large-attachments
type Upload struct {
	// Mailbox is that of [Request.Mailbox]: requests and bytes are counted for it.
	Mailbox string
	// URL is the uploadUrl. Who has it can write to the attachment.
	URL seal.Secret
	// ClientRequestID and Deadline are those of [Request].
	ClientRequestID string
	Deadline        func() time.Time
}

// Uploaded is how far an upload session has come.
type Uploaded struct {
	// Next is the first byte that is not there yet.
	Next int64
	// Done says that the attachment is there. The session is gone then.
	Done bool
	// ID is the attachment's id where Done is set and the answer tells it.
	ID string
	// Status and the ids are those of the answer.
	Status                     int
	RequestID, ClientRequestID string
}

// maxState bounds the answer of an upload session in bytes.
const maxState = 64 << 10

// PutPiece sends one piece of a file of size bytes, the first of which has the
// number from. Pieces must come in order, each under 4 MB.
//
// Like [Client.Do] it makes one attempt and marks its errors. One that is
// ambiguous does no harm here: [Client.UploadState] tells what arrived. 404 says
// that the session is gone, or was finished by a piece whose answer was lost.
// Take a slot before.
func (c *Client) PutPiece(ctx context.Context, u Upload, from, size int64, piece []byte) (Uploaded, error) {
	if len(piece) == 0 || from < 0 || from+int64(len(piece)) > size {
		return Uploaded{}, fault.New(fault.Poison, "piece of %d bytes at %d of %d", len(piece), from, size).WithCode("bad_piece")
	}
	header := http.Header{
		"Content-Type":  {"application/octet-stream"},
		"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, from+int64(len(piece))-1, size)},
	}
	return c.upload(ctx, u, http.MethodPut, header, piece)
}

// UploadState asks how far a session has come. 404 as with [Client.PutPiece].
func (c *Client) UploadState(ctx context.Context, u Upload) (Uploaded, error) {
	return c.upload(ctx, u, http.MethodGet, http.Header{}, nil)
}

// CancelUpload ends a session; nothing of the file is kept. One that is gone
// already is an error with the status 404.
func (c *Client) CancelUpload(ctx context.Context, u Upload) error {
	_, err := c.upload(ctx, u, http.MethodDelete, http.Header{}, nil)
	return err
}

// templates of the addresses of upload sessions, for logs and metrics: the
// address itself is a secret.
const (
	outlookSession = "/attachmentSessions/{attachmentSession-id}"
	graphSession   = "/users/{user-id}/todo/lists/{todoTaskList-id}/tasks/{todoTask-id}" + outlookSession
)

// upload makes one request of a session.
func (c *Client) upload(ctx context.Context, u Upload, method string, header http.Header, body []byte) (Uploaded, error) {
	address, own, err := c.uploadAddress(u.URL)
	if err != nil {
		return Uploaded{}, err
	}
	k := &call{
		op: uploadOperation(), method: method, template: outlookSession, url: address, header: header, body: body,
		mailbox: c.known(u.Mailbox), id: u.ClientRequestID, deadline: u.Deadline,
	}
	if k.id != "" && !isGUID(k.id) {
		return Uploaded{}, fault.New(fault.Poison, "client-request-id is not a GUID").WithCode("header_refused")
	}
	var out Uploaded
	read := func(a *answer) error {
		out, err = c.uploaded(k, a)
		return err
	}
	if own {
		// To Do's sessions lie in Graph itself and want the token. The address of
		// the content is not in the reference, but in Microsoft's own example:
		// https://learn.microsoft.com/graph/todo-attachments
		k.template = graphSession
		if method == http.MethodPut {
			k.template += "/content"
			k.url = k.url.JoinPath("content")
		}
		return out, c.run(ctx, k, read, func() {})
	}
	if err := k.late(nil); err != nil {
		return Uploaded{}, err
	}
	err = c.bare(ctx, k, read)
	return out, err
}

// uploadAddress checks the address of a session. It came from outside (an
// answer, a stored record) and what goes there is somebody's file, so it must be
// Outlook's, or Graph's own. own says that it is in Graph itself, which wants the
// token; nobody else ever gets it. The text is in no error: it opens the session.
func (c *Client) uploadAddress(link seal.Secret) (address *url.URL, own bool, err error) {
	refuse := func(why string) (*url.URL, bool, error) {
		return nil, false, fault.New(fault.Poison, "address of an upload session refused: %s", why).WithCode("upload_refused").
			WithHint("check base_url and any proxy on the way: the file goes to Outlook's own hosts only")
	}
	text := link.Reveal()
	if text == "" || len(text) > maxLink {
		return refuse("it is empty or too long")
	}
	for i := range len(text) {
		if b := text[i]; b <= ' ' || b > '~' || b == '\\' || b == '#' {
			return refuse("it has a character that no address has")
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "":
		return refuse("it is no URL")
	case u.User != nil:
		return refuse("it has a user name")
	case dotted(u.Path):
		return refuse("it has dots for a segment")
	}
	switch to, home := originOf(u), originOf(c.base); {
	case to == home && strings.HasPrefix(u.EscapedPath(), c.base.EscapedPath()+"/"):
		if !taskSession(u.EscapedPath()[len(c.base.EscapedPath()):]) {
			return refuse("it leads to something else in Graph")
		}
		return u, true, nil
	case to == home, uploadHost(home, to):
		return u, false, nil
	default:
		return refuse("it leads to another host")
	}
}

// taskSession reports whether a path in Graph is that of an upload session: the
// token goes with the request, and a PUT to any other path would be obeyed.
func taskSession(escaped string) bool {
	segments, ok := linkSegments(escaped)
	if ok && len(segments) > 0 && strings.EqualFold(segments[0], "me") {
		segments = append([]string{"users", "me"}, segments[1:]...)
	}
	if !ok || len(segments) != 9 {
		return false
	}
	for i, want := range []string{"users", "", "todo", "lists", "", "tasks", "", "attachmentSessions", ""} {
		if want != "" && !strings.EqualFold(want, segments[i]) {
			return false
		}
	}
	return true
}

// uploadHost reports whether a host is the one of Outlook that belongs to this
// Graph. The first was documented, the second seen since 2023:
// https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/8880. The
// national clouds have hosts of their own, and nothing leaves a cloud:
// https://learn.microsoft.com/microsoft-365/enterprise/microsoft-365-endpoints
func uploadHost(home, to origin) bool {
	if isLoopback(home.host) { // a server on this machine, under its other name
		return isLoopback(to.host) && to.scheme == home.scheme && to.port == home.port
	}
	if to.scheme != "https" || to.port != "443" {
		return false
	}
	switch home.host {
	case "graph.microsoft.us":
		return to.host == "outlook.office365.us"
	case "dod-graph.microsoft.us":
		return to.host == "outlook-dod.office365.us" || to.host == "webmail.apps.mil"
	case "microsoftgraph.chinacloudapi.cn":
		return to.host == "partner.outlook.cn"
	default: // graph.microsoft.com, or a gateway in front of it
		return to.host == "outlook.office.com" || to.host == "outlook.office365.com"
	}
}

// bare makes one attempt without a token at an address that [Client.uploadAddress]
// has passed. It is [Client.attempt] but for that: the right to write is in the
// address, and a token that went to another host than Graph's would be lost.
func (c *Client) bare(ctx context.Context, k *call, read func(*answer) error) error {
	done, wait, why := c.limits.charge(ctx, k.mailbox, int64(len(k.body)))
	if wait > 0 {
		return &fault.Error{Kind: fault.Retry, After: wait, Code: why, Err: fmt.Errorf(
			"%s %s: not sent: %s leaves this mailbox alone for %v", k.method, k.template, why, wait.Round(time.Millisecond))}
	}
	defer done()
	own, w := newWatch(ctx, c.http.Timeout, c.http.HeaderTimeout)
	defer w.end()
	id := cmp.Or(k.id, newGUID())
	var body io.Reader
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	req, err := http.NewRequestWithContext(own, k.method, k.url.String(), body)
	if err != nil {
		return fault.New(fault.Poison, "%s %s: request cannot be made", k.method, k.template).WithCode("request_refused")
	}
	req.Header = k.header.Clone()
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	req.Header.Set("User-Agent", c.http.UserAgent)
	req.Header.Set("client-request-id", id)
	req.Header.Set("return-client-request-id", "true")
	entry := logEntry{call: k, clientRequestID: id, started: w.began}
	via := c.uploads.to(k.url, c.http)
	resp, used, err := via.send(req)
	if err != nil {
		via.done(used, false)
		mark := noAnswer(ctx, own, k, err, w.sent.Load(), id)
		c.finish(ctx, entry, mark)
		return mark
	}
	w.answer()
	guarded := newSteady(resp.Body, c.http.ProgressTimeout, w.abort)
	// What the address holds is to be found in no error text.
	secret := Token{Access: seal.Secret(cmp.Or(k.url.Query().Get("authtoken"), k.url.RawQuery))}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: guarded, clientRequestID: id, secret: secret}
	entry.status, entry.requestID = a.status, a.requestID()
	if a.status >= 200 && a.status < 300 {
		c.limits.calm(k.mailbox)
		err = ownEnd(ctx, own, read(a))
	} else {
		err = c.failure(k, a)
	}
	_ = resp.Body.Close() // everything that counts was read
	via.done(used, a.status == http.StatusServiceUnavailable)
	entry.size = guarded.size
	c.finish(ctx, entry, err)
	return err
}

// attachmentID finds the id in the Location of a finished session, in either form
// of addressing.
var attachmentID = regexp.MustCompile(`(?i)/attachments(?:\('|/)([A-Za-z0-9_=+-]{1,1000})(?:'\))?/?$`)

// uploaded reads how far a session has come: 200 names the ranges that are still
// expected, 201 says that all is there.
func (c *Client) uploaded(k *call, a *answer) (Uploaded, error) {
	out := Uploaded{Status: a.status, RequestID: a.requestID(), ClientRequestID: a.clientRequestID}
	text, err := io.ReadAll(&capped{from: a.body, left: maxState})
	if k.method == http.MethodDelete || k.method == http.MethodPut && a.status != http.StatusOK && a.status != http.StatusAccepted {
		out.Done = k.method == http.MethodPut
		if found := attachmentID.FindStringSubmatch(a.header.Get("Location")); found != nil && out.Done {
			out.ID = found[1]
		}
		return out, nil // what it says besides does not matter
	}
	if err != nil {
		return out, c.badBody(k, a, err)
	}
	// Graph writes the name with a small letter, Outlook with a capital; Go takes
	// both.
	var state struct {
		Next []string `json:"nextExpectedRanges"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return out, c.badBody(k, a, errors.New("the body is not the state of an upload session"))
	}
	if len(state.Next) == 0 {
		out.Done = true // nothing is expected any more
		return out, nil
	}
	first, _, _ := strings.Cut(state.Next[0], "-")
	if out.Next, err = strconv.ParseInt(strings.TrimSpace(first), 10, 64); err != nil || out.Next < 0 {
		return out, c.badBody(k, a, errors.New("the next expected range is not a number"))
	}
	return out, nil
}
