package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
	"outlook-connector/internal/seal"
)

// Uploads sends large files to the addresses of upload sessions
// (https://learn.microsoft.com/graph/outlook-large-attachments). Errors are marked
// as those of [Outlook], and the Progress carries what is known of the answer
// beside one. It must be safe for concurrent use.
type Uploads interface {
	// Put makes one attempt to send a piece.
	Put(ctx context.Context, s Session, p Piece) (Progress, error)
	// State asks how far a session has come. The status 404 says that it is gone:
	// it has ended, or the whole file is there.
	State(ctx context.Context, s Session) (Progress, error)
	// Cancel ends a session that nobody goes on with.
	Cancel(ctx context.Context, s Session) error
}

// Session is an upload session.
type Session struct {
	// Client and Mailbox are those of [Call].
	Client, Mailbox string
	// URL is its address. Who has it can write to the attachment.
	URL seal.Secret
	// RequestID and Deadline are those of [Call]. Reads have no deadline.
	RequestID string
	Deadline  func() time.Time
}

// Piece is a part of a file: Data begins at the byte From of Size.
type Piece struct {
	From, Size int64
	Data       []byte
}

// Progress is how far a session has come.
type Progress struct {
	// Next is the first byte that is not there yet.
	Next int64
	// Done says that the file is there, as the attachment ID where that is known.
	Done bool
	ID   string
	// Answer is what came back, without a body.
	Answer Answer
}

// Files are the files of the object store that commands name. It must be safe for
// concurrent use. Errors are marked: Poison where there is no such file.
type Files interface {
	// Stat tells a file's size in bytes and what tells its content from any
	// other.
	Stat(ctx context.Context, name string) (File, error)
	// Open reads a file from its start, in constant memory. io.EOF comes only
	// behind the last byte of the content with this sum; where it is another one,
	// an error of kind Poison comes instead.
	Open(ctx context.Context, name, sum string) (io.ReadCloser, error)
}

// File is a file of the object store.
type File struct {
	Size int64
	Sum  string
}

const (
	// pieceSize is a multiple of 320 KiB, under 4 MB in either way of counting.
	pieceSize = 12 * 320 << 10
	// uploadRoom is how many files are under way at once, each with a piece in
	// memory.
	uploadRoom = 4
	// The patience with one file: sessions are begun so often in one delivery,
	// requests repeated so often without any progress, a session asked for so often
	// from an item that Exchange does not show yet
	// (https://github.com/demisto/content/issues/41448).
	mostSessions, mostTries, mostYoung = 3, 5, 5
	// patienceUpload is how long a request waits here for its turn. What takes
	// longer gives the command back.
	patienceUpload = 30 * time.Second
	// delayRoom is how long a command stays away for which there was no room.
	delayRoom = 10 * time.Second
	// saveEvery is how often the progress is written down. It is only for people:
	// a session knows itself how far it is.
	saveEvery = 30 * time.Second
	// slack is by how much the size of an attachment that is told may be more than
	// the file's: Exchange counts the attachment's properties too.
	slack = 64 << 10
)

// uploadState is how far the attachments of a command have come. It is kept in
// the ledger, so that another process can go on. The address of a session in it
// is a secret for as long as the session lives, which is hours.
type uploadState struct {
	// Plan tells the attachments from others: what they are is worked out anew by
	// who goes on, and a file may be stored again in between.
	Plan string `json:"plan,omitempty"`
	// At is the number of the attachment that is under way.
	At int `json:"at,omitempty"`
	// Before is, for each attachment, how many like it the item had before.
	Before []int `json:"before,omitempty"`
	// Begun says that the attachment At may be there.
	Begun bool `json:"begun,omitempty"`
	// URL is the address of its session, Next how far it was when this was written.
	URL  secretText `json:"url,omitzero"`
	Next int64      `json:"next,omitempty"`
	// Open is when a request was made last, of the attachment At, that may still have
	// its effect; zero: there is none. Looked is how often it was not there since.
	Open   time.Time `json:"open,omitzero"`
	Looked int       `json:"looked,omitempty"`
}

// secretText is a secret that is stored, where [seal.Secret] would store a word
// in its place. It is shown by nothing else.
type secretText struct{ seal.Secret }

// MarshalJSON implements json.Marshaler.
func (s secretText) MarshalJSON() ([]byte, error) { return json.Marshal(s.Reveal()) }

// MarshalText is hidden behind it, and would lose the secret.
func (s secretText) MarshalText() ([]byte, error) { return []byte(s.Reveal()), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (s *secretText) UnmarshalJSON(text []byte) error {
	var plain string
	err := json.Unmarshal(text, &plain)
	s.Secret = seal.Secret(plain)
	return err
}

// IsZero lets the encoder leave it out.
func (s secretText) IsZero() bool { return s.Secret == "" }

// uploadWork is what is to be attached to what.
type uploadWork struct {
	client, mailbox string
	// kind and params say to which item: params are its path parameters.
	kind   *attachKind
	params map[string]string
	// header are those of the item's own request.
	header map[string]string
	big    []attachment
	// state is as it was last saved; zero at first.
	state uploadState
	// save writes the state into the ledger. An error ends the work.
	save func(ctx context.Context, s uploadState) error
	// settle is how long a request of unknown end is left alone before its effect is
	// looked for.
	settle time.Duration
	// deadline is that of [Call].
	deadline func() time.Time
	log      *slog.Logger
}

// uploader adds attachments to items.
type uploader struct {
	catalog *catalog.Catalog
	outlook Outlook
	uploads Uploads
	files   Files
	slots   Slots
	jitter  func(most time.Duration) time.Duration
	room    chan struct{}
}

func newUploader(o Options, uploads Uploads, files Files) *uploader {
	return &uploader{
		catalog: o.Catalog, outlook: o.Outlook, uploads: uploads, files: files, slots: o.Slots, jitter: o.Jitter,
		room: make(chan struct{}, uploadRoom),
	}
}

// upload is one run of the work. It belongs to one goroutine.
type upload struct {
	*uploader
	uploadWork
	saved time.Time
	last  Answer // of the last request
	whole bool   // the session may have all of the file
}

// all adds the attachments of a command to its item, in their order, each once,
// and returns the answer to the last one. It may be called again after any end of
// a call, in any process, with the state that was last saved: what is there stays
// there, and a file that is half there goes on where it was.
//
// No error is ambiguous. One of kind Retry says that it can be called again later;
// the state is saved by then.
func (u *uploader) all(ctx context.Context, in uploadWork) (uploadState, Answer, error) {
	run := &upload{uploader: u, uploadWork: in, saved: time.Now()}
	if err := run.enter(ctx); err != nil {
		return run.state, run.last, err
	}
	defer func() { <-u.room }()
	err := run.begin(ctx)
	for err == nil && run.state.At < len(run.big) {
		a := &run.big[run.state.At]
		if err = run.attach(ctx, a); err != nil {
			break
		}
		run.log.InfoContext(ctx, "attachment added", "number", run.state.At, "bytes", a.Size, "session", a.session)
		run.state = uploadState{Plan: run.state.Plan, At: run.state.At + 1, Before: run.state.Before}
		if run.state.At < len(run.big) {
			err = run.write(ctx)
		}
	}
	if err != nil && isSuccess(run.last.Status) {
		run.last = Answer{} // of a request before: nobody is to take it for the end
	}
	return run.state, run.last, run.settled(ctx, err)
}

// enter waits a moment for room: what a file takes in memory must not grow with
// the number of commands in hand.
func (u *upload) enter(ctx context.Context) error {
	select {
	case u.room <- struct{}{}:
		return nil
	default:
	}
	turn := time.NewTimer(u.spread(2 * time.Second))
	defer turn.Stop()
	select {
	case u.room <- struct{}{}:
		return nil
	case <-turn.C:
		return &fault.Error{
			Kind: fault.Retry, After: u.spread(delayRoom), Code: "uploads_busy",
			Err: fmt.Errorf("%d large attachments are on their way already", uploadRoom),
		}
	case <-ctx.Done():
		return stopped(ctx)
	}
}

func (u *uploader) spread(most time.Duration) time.Duration {
	if u.jitter == nil {
		return most
	}
	return most/2 + u.jitter(most/2)
}

// settled makes an error what the caller may rely on, and gives up a session that
// nobody will go on with.
func (u *upload) settled(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, ErrConflict) {
		return err
	}
	marked := *fault.Of(err)
	if marked.Ambiguous || marked.Kind == fault.Unknown {
		// Who goes on looks first.
		marked.Ambiguous, marked.Kind, marked.Err = false, fault.Retry, err
	}
	if marked.Kind == fault.Poison && u.state.URL.Secret != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := u.uploads.Cancel(ctx, u.session()); err != nil {
			u.log.DebugContext(ctx, "upload session not cancelled, it ends by itself", "error", err)
		}
	}
	return &marked
}

// begin checks that the work is still the one that was begun, and counts what is
// there already: a forwarded mail may bring a file with the same name.
func (u *upload) begin(ctx context.Context) error {
	plan := planOf(u.big)
	switch {
	case u.state.Plan == plan:
		return nil
	case u.state.Plan != "":
		return refuse("blob_changed", "the attachments of the command are not those any more with which it began").
			WithHint("store a new file under a new name, and send the command again under a new key")
	}
	there, err := u.list(ctx)
	if err != nil {
		return err
	}
	u.state = uploadState{Plan: plan, Before: make([]int, len(u.big))}
	for i := range u.big {
		u.state.Before[i] = count(there, &u.big[i])
	}
	return nil
}

// planOf tells a list of attachments from another.
func planOf(big []attachment) string {
	digest := sha256.New()
	for _, a := range big {
		fmt.Fprintf(digest, "%q %d %q %d %t\n", a.Name, a.Size, a.Sum, len(a.raw), a.session)
	}
	return base64.RawURLEncoding.EncodeToString(digest.Sum(nil)[:12])
}

// write saves the state.
func (u *upload) write(ctx context.Context) error {
	u.saved = time.Now()
	if u.save == nil {
		return nil
	}
	return u.save(ctx, u.state)
}

// attach adds one attachment.
func (u *upload) attach(ctx context.Context, a *attachment) error {
	if !a.session {
		return u.post(ctx, a)
	}
	if u.state.Begun {
		if done, err := u.resume(ctx, a); done || err != nil {
			return err
		}
	}
	for range mostSessions {
		if u.state.URL.Secret == "" {
			u.whole = false
			if err := u.open(ctx, a); err != nil {
				return err
			}
		}
		err := u.pieces(ctx, a)
		if !errors.Is(err, errGone) {
			return err
		}
		if done, err := u.goneThere(ctx, a); done || err != nil {
			return err
		}
	}
	return fault.New(fault.Retry, "attachment %d: %w, %d times", u.state.At, errGone, mostSessions).WithCode("upload_gone")
}

// errGone says that a session is not there any more.
var errGone = errors.New("the upload session is gone")

// resume asks a session of an earlier run how far it is.
func (u *upload) resume(ctx context.Context, a *attachment) (done bool, err error) {
	if u.state.URL.Secret == "" {
		return u.settledThere(ctx, a)
	}
	switch next, done, err := u.ask(ctx, a); {
	case errors.Is(err, errGone):
		u.whole = true // for all that is known
		return u.goneThere(ctx, a)
	case err != nil || done:
		return done, err
	default:
		u.log.InfoContext(ctx, "upload goes on", "number", u.state.At, "from", next, "bytes", a.Size)
		u.state.Next = next
		return false, nil
	}
}

// open begins a session, and writes its address down before anything is sent
// there: an address that is lost costs nothing, a file that is there twice does.
func (u *upload) open(ctx context.Context, a *attachment) error {
	item := map[string]any{"attachmentType": "file", "name": a.Name, "size": a.Size}
	if a.ContentType != "" {
		item["contentType"] = a.ContentType
	}
	if a.Inline {
		item["isInline"] = true
	}
	if a.ContentID != "" {
		item["contentId"] = a.ContentID
	}
	body, err := encode(map[string]any{u.kind.member: item})
	if err != nil {
		return asFault(err)
	}
	answer, err := u.young(ctx, u.kind.session, nil, body)
	if err != nil {
		if marked := fault.Of(err); answer.Status == statusForbidden && marked.Kind == fault.Poison {
			return refuse(orElse(marked.Code, "forbidden"), "begin upload of attachment %d: %w", u.state.At, err).
				WithHint("with delegated permissions Graph takes large attachments only in the mailbox of who signed in (https://learn.microsoft.com/graph/known-issues); else: %s", fault.HintOf(err))
		}
		return fmt.Errorf("begin upload of attachment %d: %w", u.state.At, err)
	}
	var session struct {
		URL string `json:"uploadUrl"`
	}
	if err := json.Unmarshal(answer.Body, &session); err != nil || session.URL == "" {
		return fault.New(fault.Retry, "begin upload of attachment %d: the answer has no address", u.state.At).WithCode("bad_body")
	}
	u.state.URL, u.state.Next, u.state.Begun = secretText{seal.Secret(session.URL)}, 0, true
	return u.write(ctx)
}

// young asks for something of an item that was made a moment ago. Exchange does
// not always show it at once.
func (u *upload) young(ctx context.Context, id string, query map[string]string, body []byte) (Answer, error) {
	for try := 1; ; try++ {
		answer, err := u.do(ctx, id, query, body)
		if answer.Status != statusNotFound || try >= mostYoung {
			return answer, err
		}
		u.log.DebugContext(ctx, "item is not shown yet", "operation", id, "try", try)
		if err := retry.Sleep(ctx, u.spread(250*time.Millisecond<<try)); err != nil {
			return answer, stopped(ctx)
		}
	}
}

// do makes a request about the item's attachments.
func (u *upload) do(ctx context.Context, id string, query map[string]string, body []byte) (Answer, error) {
	op, err := u.catalog.Lookup(id)
	if err != nil {
		return Answer{}, err
	}
	params := catalog.Params{Mailbox: u.mailbox, Path: u.params, Query: query}
	target, err := op.Build(params)
	if err != nil {
		return Answer{}, err
	}
	if err := checkTarget(op, u.mailbox, target.Path); err != nil {
		return Answer{}, err
	}
	if err := u.outlook.Ready(ctx, u.client); err != nil {
		return Answer{}, err
	}
	release, err := u.slot(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	answer, err := u.outlook.Do(ctx, Call{
		Client: u.client, Mailbox: u.mailbox, Operation: op, Params: params, Method: op.Method,
		Path: target.Path, RawQuery: target.RawQuery, Template: target.Template,
		Header: u.header, Body: body, RequestID: newTry(), Deadline: u.deadline,
	})
	u.last = answer
	return answer, err
}

// slot takes a slot of the mailbox for one request, so that a large file leaves
// room for others between its pieces.
func (u *upload) slot(ctx context.Context) (release func(), err error) {
	u.last = Answer{}
	for until := time.Now().Add(patienceUpload); ; {
		release, wait, ok := u.slots.Take(ctx, u.client, u.mailbox)
		if ok {
			return release, nil
		}
		if wait <= 0 {
			wait = u.spread(delayBusy)
		}
		if time.Now().Add(wait).After(until) {
			return nil, &fault.Error{Kind: fault.Retry, After: wait, Code: "mailbox_busy", Err: errors.New("the mailbox is busy")}
		}
		if retry.Sleep(ctx, wait) != nil {
			return nil, stopped(ctx)
		}
	}
}

// stopped is the error of work that ended with its context.
func stopped(ctx context.Context) error {
	return fault.New(fault.Retry, "upload of attachments: %w", context.Cause(ctx)).WithCode("stopped")
}
