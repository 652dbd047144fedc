package sandbox

// Upload sessions: a large file comes in pieces, in order, to an address of its
// own. Modelled: createUploadSession with the documented bounds of size, pieces of
// at most 4 MiB, state with GET, DELETE, resuming after a cut connection, expiry,
// the refusal of a bearer token at Outlook's own address, and of a mailbox that
// is not one's own with delegated permissions (a known issue of Graph). A piece
// must begin at the next expected byte; every other range, also one that the
// server has already, answers 416, since the pages say only that the order
// matters. Sessions live in memory: a restart ends them.
// https://learn.microsoft.com/graph/outlook-large-attachments
//
// For the items that take attachments:
//
//   - c.createUpload(uploadRules{…}) is the whole handler of
//     …/attachments/createUploadSession: it reads the body, checks the size, opens
//     a session and answers. rules.store is called once, in an update, when the
//     last byte is there; it stores the file and returns the Location of the 201.
//   - Outlook's sessions (messages, events) are served without a token below
//     /outlook-upload/; nothing else is needed.
//   - Where the session lies in Graph itself and wants the token (To Do), set
//     rules.address, and make the routes PUT …/{attachmentSession-id}/content with
//     (*call).putPiece, GET …/{attachmentSession-id} with (*call).getUpload and
//     DELETE with (*call).cancelUpload; the parameter must have that name.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxPiece is the size of a piece that is taken.
const maxPiece = 4 << 20

// The bounds of files in upload sessions of messages and events; what is smaller
// goes into the item by POST. Graph was seen to take 2 MiB and more, and the page
// says 3 MB.
const (
	leastUpload = 3_000_000
	mostUpload  = 150 << 20
)

// uploadRules are what a kind of item says about its upload sessions.
type uploadRules struct {
	// parameter is the name in the body. Default AttachmentItem.
	parameter string
	// least and most bound the size in bytes; 0: no bound.
	least, most int64
	// status of the answer that tells of the session. Default 201.
	status int
	// owner says whether the item is there and may be changed. It is asked when
	// the session is made, with the lock held.
	owner func() error
	// store puts the file into the item, which may be gone by now, and returns the
	// attachment's address.
	store func(t *tx, f uploadedFile) (location string, err error)
	// address is the uploadUrl of a session with an id; nil: Outlook's own.
	address func(id string) string
}

// uploadedFile is a file that has come whole. content may be kept and must not
// be changed.
type uploadedFile struct {
	name, contentType, contentID string
	inline                       bool
	content                      []byte
}

// uploadSession is one file on its way.
type uploadSession struct {
	id, token string
	key       limitKey
	upn       string
	rules     uploadRules
	file      uploadedFile
	size      int64
	expires   time.Time

	mu   sync.Mutex // held while a piece comes in
	next int64      // the byte that is expected
	done bool
}

// uploadBook holds the sessions that are open.
type uploadBook struct {
	mu       sync.Mutex
	sessions map[string]*uploadSession
}

// attachmentItem is attachmentItem, and To Do's attachmentInfo.
// https://learn.microsoft.com/graph/api/resources/attachmentitem
type attachmentItem struct {
	Type        string `json:"attachmentType"`
	Name        string `json:"name"`
	Size        *int64 `json:"size"`
	ContentType string `json:"contentType"`
	ContentID   string `json:"contentId"`
	Inline      bool   `json:"isInline"`
}

// createUpload is createUploadSession.
// https://learn.microsoft.com/graph/api/attachment-createuploadsession
func (c *call) createUpload(rules uploadRules) (*Answer, error) {
	rules.parameter = cmp.Or(rules.parameter, "AttachmentItem")
	params, err := c.readParameters("createUploadSession", rules.parameter)
	if err != nil {
		return nil, err
	}
	raw, ok := params[rules.parameter]
	if !ok {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The parameter '%s' is required.", rules.parameter)
	}
	var item attachmentItem
	if err := readOpen(raw, "microsoft.graph.attachmentItem", &item); err != nil {
		return nil, err
	}
	switch {
	case !strings.EqualFold(item.Type, "file"):
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "Only attachments of the type 'file' can be uploaded.")
	case item.Name == "" || item.Size == nil || *item.Size <= 0:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "An attachment item needs name and size.")
	case *item.Size < rules.least:
		return nil, newError(http.StatusBadRequest, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
			"Attachment size must be greater than the minimum size.")
	case rules.most > 0 && *item.Size > rules.most:
		return nil, newError(http.StatusRequestEntityTooLarge, "ErrorAttachmentSizeLimitExceeded", "The attachment size exceeds the allowed maximum.")
	}
	if rules.owner != nil {
		c.read(func(*state) { err = rules.owner() })
		if err != nil {
			return nil, err
		}
	}
	u := c.openUpload(rules, uploadedFile{name: item.Name, contentType: item.ContentType, contentID: item.ContentID, inline: item.Inline}, *item.Size)
	url := uploadHost(c.base) + "/" + uploadPath + "/Users('" + c.box.ID + "')/AttachmentSessions('" + u.id + "')?authtoken=" + u.token
	if rules.address != nil {
		url = rules.address(u.id)
	}
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#microsoft.graph.uploadSession")
	b = appendString(append(b, `,"uploadUrl":`...), url)
	b = appendString(append(b, `,"expirationDateTime":`...), u.expiry())
	b = append(b, `,"nextExpectedRanges":["0-"]}`...)
	return c.jsonAnswer(cmp.Or(rules.status, http.StatusCreated), b), nil
}

// readOpen is readValue for a type of which clients send more than is known
// here: SDKs put an annotation of the type into it.
func readOpen[T any](raw json.RawMessage, edm string, into *T) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return errBody("Cannot convert the literal '%s' to the expected type '%s'.", shorten(string(raw), 40), edm)
	}
	return nil
}

func (c *call) openUpload(rules uploadRules, file uploadedFile, size int64) *uploadSession {
	now := time.Now()
	u := &uploadSession{
		id: newGUID(), token: strings.ReplaceAll(newGUID()+newGUID(), "-", ""),
		key: limitKey{c.token.AppID, c.box.ID}, upn: c.box.UPN,
		rules: rules, file: file, size: size, expires: now.Add(c.opts.mail.uploadLife),
	}
	c.uploads.mu.Lock()
	defer c.uploads.mu.Unlock()
	if c.uploads.sessions == nil {
		c.uploads.sessions = map[string]*uploadSession{}
	}
	for id, old := range c.uploads.sessions { // few are ever open
		if now.After(old.expires) {
			delete(c.uploads.sessions, id)
		}
	}
	c.uploads.sessions[u.id] = u
	return u
}

func (u *uploadSession) expiry() string {
	return u.expires.UTC().Format("2006-01-02T15:04:05.0000000Z")
}

// upload finds an open session.
func (s *Sandbox) upload(id string) (*uploadSession, error) {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	u := s.uploads.sessions[strings.ToLower(id)]
	if u == nil || time.Now().After(u.expires) {
		return nil, errItemNotFound()
	}
	return u, nil
}

func (s *Sandbox) forgetUpload(u *uploadSession) {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	delete(s.uploads.sessions, u.id)
}

// contentRange reads "bytes a-b/total"; the end is given as the byte after it.
func contentRange(text string) (from, to, total int64, err error) {
	bad := newError(http.StatusBadRequest, "ErrorInvalidRequest", "The Content-Range header '%s' is missing or malformed.", shorten(text, 60))
	span, found := strings.CutPrefix(text, "bytes ")
	first, rest, dash := strings.Cut(span, "-")
	last, size, slash := strings.Cut(rest, "/")
	from, err1 := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	to, err2 := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
	total, err3 := strconv.ParseInt(strings.TrimSpace(size), 10, 64)
	if !found || !dash || !slash || errors.Join(err1, err2, err3) != nil || from < 0 || to < from || to >= total {
		return 0, 0, 0, bad
	}
	return from, to + 1, total, nil
}

// take reads one piece into its place. A piece that breaks off leaves the
// session as it was. The last one stores the file.
func (s *Sandbox) take(u *uploadSession, spec string, length int64, body io.Reader) (*Answer, error) {
	from, to, total, err := contentRange(spec)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.done:
		return nil, errItemNotFound()
	case to-from > maxPiece:
		return nil, newError(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "A piece may have 4 MB at most.")
	case total != u.size:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The upload session is for %d bytes, but the piece says %d.", u.size, total)
	case length >= 0 && length != to-from:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The Content-Range header length does not match the provided number of bytes.")
	case from != u.next:
		return nil, newError(http.StatusRequestedRangeNotSatisfiable, "ErrorInvalidRange", "The next expected byte is %d.", u.next).
			with("Content-Range", "bytes */"+strconv.FormatInt(u.size, 10))
	}
	if u.file.content == nil {
		u.file.content = make([]byte, u.size) // the pieces are read to where they stay
	}
	n, err := io.ReadFull(body, u.file.content[from:to])
	if u.rules.address == nil { // else the request was counted as one to Graph
		s.limits.uploaded(u.key, n, time.Now())
	}
	if err == nil {
		if extra, _ := io.CopyN(io.Discard, body, 1); extra > 0 {
			err = io.ErrShortBuffer
		}
	}
	if err != nil {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The Content-Range header length does not match the provided number of bytes.")
	}
	if u.next = to; u.next < u.size {
		return u.state(), nil
	}
	u.done = true
	s.forgetUpload(u)
	a := &Answer{Status: http.StatusCreated, Header: http.Header{}}
	err = s.update(func(t *tx) error {
		location, err := u.rules.store(t, u.file)
		a.Header.Set("Location", location)
		return err
	})
	return a, err
}

// state tells how far the upload has come.
func (u *uploadSession) state() *Answer {
	return &Answer{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: fmt.Appendf(nil, `{"ExpirationDateTime":%q,"NextExpectedRanges":["%d"]}`, u.expiry(), u.next),
	}
}

func (s *Sandbox) uploadState(u *uploadSession) (*Answer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done {
		return nil, errItemNotFound()
	}
	return u.state(), nil
}

func (s *Sandbox) cancel(u *uploadSession) (*Answer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.done {
		return nil, errItemNotFound()
	}
	u.done = true
	s.forgetUpload(u)
	return &Answer{Status: http.StatusNoContent}, nil
}

// The handlers of sessions that lie in Graph.

func (c *call) ownUpload() (*uploadSession, error) {
	u, err := c.upload(c.params["attachmentSession-id"])
	if err == nil && (u.rules.address == nil || u.key.mailbox != c.box.ID) {
		return nil, errItemNotFound()
	}
	return u, err
}

func (c *call) putPiece() (*Answer, error) {
	u, err := c.ownUpload()
	if err != nil {
		return nil, err
	}
	return c.take(u, c.header.Get("Content-Range"), int64(len(c.body)), bytes.NewReader(c.body))
}

func (c *call) getUpload() (*Answer, error) {
	u, err := c.ownUpload()
	if err != nil {
		return nil, err
	}
	return c.uploadState(u)
}

func (c *call) cancelUpload() (*Answer, error) {
	u, err := c.ownUpload()
	if err != nil {
		return nil, err
	}
	return c.cancel(u)
}

// uploadHost is another name of a loopback address. Outlook's upload addresses are
// not on Graph's host, and clients decide by the host's name alone whether to show
// their token, which the upload address refuses. A sandbox elsewhere has one name
// only.
func uploadHost(base string) string {
	scheme, rest, _ := strings.Cut(base, "://")
	host, port, _ := strings.Cut(rest, ":")
	switch host {
	case "127.0.0.1":
		host = "localhost"
	case "localhost":
		host = "127.0.0.1"
	default:
		return base
	}
	if port != "" {
		host += ":" + port
	}
	return scheme + "://" + host
}
