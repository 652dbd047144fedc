package publisher

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

// session is the session of the attachment that is under way.
func (u *upload) session() Session {
	return Session{Client: u.client, Mailbox: u.mailbox, URL: u.state.URL.Secret, RequestID: newTry(), Deadline: u.deadline}
}

// pieces sends what a session has not got yet. What goes wrong is asked for: the
// session knows what arrived.
func (u *upload) pieces(ctx context.Context, a *attachment) error {
	file := &reading{files: u.files, a: a, buffer: make([]byte, min(pieceSize, a.Size))}
	defer file.close()
	for tries := 0; ; {
		data, err := file.at(ctx, u.state.Next)
		if err != nil {
			return err
		}
		end := u.state.Next + int64(len(data))
		progress, err := u.put(ctx, Piece{From: u.state.Next, Size: a.Size, Data: data})
		if status := progress.Answer.Status; err != nil && end == a.Size && !gone(status) {
			u.whole = true
		}
		switch {
		case err == nil && progress.Done:
			return u.ended(a, end, progress)
		case err == nil && progress.Next > u.state.Next && progress.Next <= end && progress.Next < a.Size:
			tries = 0
			if err := u.advance(ctx, progress.Next); err != nil {
				return err
			}
			continue
		case err == nil:
			err = fmt.Errorf("the session expects byte %d after the piece from %d to %d", progress.Next, u.state.Next, end)
		}
		if err := u.bearable(ctx, progress.Answer.Status, err); err != nil {
			return err
		}
		if tries++; tries > mostTries {
			return fmt.Errorf("piece from %d of attachment %d, %d times: %w", u.state.Next, u.state.At, tries, err)
		}
		u.log.WarnContext(ctx, "piece of an attachment is sent again", "number", u.state.At, "from", u.state.Next, "try", tries,
			"status", progress.Answer.Status, "request_id", progress.Answer.RequestID, "error", err)
		if err := u.pause(ctx, err, tries); err != nil {
			return err
		}
		next, done, err := u.ask(ctx, a)
		switch {
		case err != nil || done:
			return err
		case next > u.state.Next:
			tries = 0
		}
		u.state.Next = next
	}
}

// put sends a piece.
func (u *upload) put(ctx context.Context, p Piece) (Progress, error) {
	release, err := u.slot(ctx)
	if err != nil {
		return Progress{}, err
	}
	defer release()
	progress, err := u.uploads.Put(ctx, u.session(), p)
	u.last = progress.Answer
	return progress, err
}

// ended checks what a session says of its end.
func (u *upload) ended(a *attachment, end int64, progress Progress) error {
	if end != a.Size {
		return fault.New(fault.Retry, "the session of attachment %d ended after %d of %d bytes", u.state.At, end, a.Size).WithCode("bad_body")
	}
	if progress.ID != "" {
		body, err := encode(map[string]any{"id": progress.ID, "name": a.Name, "size": a.Size})
		if err != nil {
			return asFault(err)
		}
		u.last.Body = body
	}
	return nil
}

// advance goes on to the next piece.
func (u *upload) advance(ctx context.Context, next int64) error {
	u.state.Next = next
	if time.Since(u.saved) < saveEvery {
		return nil
	}
	return u.write(ctx)
}

// bearable returns the error that ends the work on a session, or nil where it may
// go on after a look.
func (u *upload) bearable(ctx context.Context, status int, err error) error {
	marked := fault.Of(err)
	switch {
	case gone(status):
		return errGone
	case fault.Stopped(ctx, err), marked.Code == codeDeadlinePassed:
		return err
	case status == statusRange, marked.Ambiguous, marked.Kind == fault.Retry, marked.Kind == fault.Unknown:
		return nil
	default:
		return err
	}
}

// pause waits before the next request. What takes long gives the command back.
func (u *upload) pause(ctx context.Context, err error, tries int) error {
	after := fault.Of(err).After
	if after > patienceUpload {
		return err
	}
	if retry.Sleep(ctx, max(after, u.spread(delayLeast<<tries))) != nil {
		return stopped(ctx)
	}
	return nil
}

// ask asks a session how far it is; errGone where it is not there any more.
func (u *upload) ask(ctx context.Context, a *attachment) (next int64, done bool, err error) {
	for try := 1; ; try++ {
		progress, err := u.queried(ctx)
		status := progress.Answer.Status
		switch {
		case err == nil && progress.Done:
			return 0, true, nil
		case err == nil && progress.Next >= 0 && progress.Next < a.Size:
			return progress.Next, false, nil
		case err == nil:
			return 0, false, errGone // it is for another file
		case gone(status):
			return 0, false, errGone
		}
		if err := u.bearable(ctx, status, err); err != nil {
			return 0, false, err
		}
		if try >= mostTries {
			return 0, false, fmt.Errorf("state of the upload of attachment %d: %w", u.state.At, err)
		}
		if err := u.pause(ctx, err, try); err != nil {
			return 0, false, err
		}
	}
}

// queried asks once.
func (u *upload) queried(ctx context.Context) (Progress, error) {
	release, err := u.slot(ctx)
	if err != nil {
		return Progress{}, err
	}
	defer release()
	return u.uploads.State(ctx, u.session())
}

// The statuses of a session. Its right to write is in its address: who is not let
// in any more needs another one.
const (
	statusUnauthorized = 401
	statusGone         = 410
	statusRange        = 416
)

func gone(status int) bool {
	return slices.Contains([]int{statusNotFound, statusGone, statusUnauthorized, statusForbidden}, status)
}

// post adds a small attachment by one request.
func (u *upload) post(ctx context.Context, a *attachment) error {
	var body bytes.Buffer
	for try := 1; ; try++ {
		if u.state.Begun {
			if done, err := u.settledThere(ctx, a); done || err != nil {
				return err
			}
		}
		if body.Len() == 0 {
			if err := writeAttachment(ctx, &body, u.files, a, u.kind.odata); err != nil {
				return err
			}
		}
		u.state.Begun = true
		if err := u.leaveOpen(ctx); err != nil {
			return err
		}
		answer, err := u.do(ctx, u.kind.create, nil, body.Bytes())
		switch {
		case err == nil:
			return nil
		case answer.Status == statusNotFound && try < mostYoung:
			// The item is not shown yet.
		default:
			if err := u.bearable(ctx, 0, err); err != nil {
				return fmt.Errorf("attachment %d: %w", u.state.At, err)
			}
			if ambiguous(fault.Of(err)) {
				return u.later(ctx, max(u.settle, fault.Of(err).After), err)
			}
		}
		u.state.Open = time.Time{}
		if try >= mostTries {
			return fmt.Errorf("attachment %d, %d times: %w", u.state.At, try, err)
		}
		if err := u.pause(ctx, err, try+1); err != nil {
			return err
		}
	}
}

// leaveOpen writes down that a request is about to be made which may have its effect
// whatever comes back.
func (u *upload) leaveOpen(ctx context.Context) error {
	u.state.Open, u.state.Looked = time.Now().UTC(), 0
	return u.write(ctx)
}

// settledThere is [upload.there] once what may be under way has settled: Exchange may
// still be at work on a request that it answered with 504. That it is not there
// counts the second time.
func (u *upload) settledThere(ctx context.Context, a *attachment) (bool, error) {
	if u.state.Open.IsZero() {
		return u.there(ctx, a)
	}
	if wait := time.Until(u.state.Open.Add(u.settle)); wait > 0 {
		return false, u.later(ctx, wait, errors.New("what became of it is still to be seen"))
	}
	if done, err := u.there(ctx, a); done || err != nil {
		return done, err
	}
	if u.state.Looked+1 < looks {
		u.state.Open, u.state.Looked = time.Now().UTC(), u.state.Looked+1
		return false, u.later(ctx, u.settle, errors.New("it is not there yet"))
	}
	u.state.Open, u.state.Looked = time.Time{}, 0
	return false, nil
}

// goneThere is [upload.there] where a session is gone that may have ended with the
// whole file: what ends a moment ago may be shown later.
func (u *upload) goneThere(ctx context.Context, a *attachment) (bool, error) {
	u.state.URL, u.state.Next = secretText{}, 0
	done, err := u.there(ctx, a)
	if done || err != nil || !u.whole {
		return done, err
	}
	u.state.Open, u.state.Looked = time.Now().UTC(), 0
	return false, u.later(ctx, u.settle, errGone)
}

// later gives the command back until an attachment is looked for.
func (u *upload) later(ctx context.Context, wait time.Duration, err error) error {
	if err := u.write(ctx); err != nil {
		return err
	}
	return &fault.Error{Kind: fault.Retry, After: wait, Code: "upload_settles", Err: fmt.Errorf("attachment %d: %w", u.state.At, err)}
}

// listed is an attachment of the item.
type listed struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// list returns the attachments that the item has.
func (u *upload) list(ctx context.Context) ([]listed, error) {
	query := map[string]string{"$select": "id,name,size", "$top": "999"}
	var all []listed
	for range mostPages {
		answer, err := u.young(ctx, u.kind.list, query, nil)
		if err != nil {
			return nil, fmt.Errorf("list attachments: %w", err)
		}
		var found struct {
			Value []listed `json:"value"`
			Next  string   `json:"@odata.nextLink"`
		}
		if err := json.Unmarshal(answer.Body, &found); err != nil {
			return nil, fault.New(fault.Retry, "list attachments: %w", err).WithCode("bad_body")
		}
		all = append(all, found.Value...)
		if found.Next == "" {
			break
		}
		if query, err = linkQuery(found.Next); err != nil {
			return nil, fault.New(fault.Retry, "list attachments: the link to the next page: %w", err).WithCode("bad_body")
		}
	}
	return all, nil
}

// there reports whether the attachment is there that is under way.
func (u *upload) there(ctx context.Context, a *attachment) (bool, error) {
	found, err := u.list(ctx)
	if err != nil {
		return false, err
	}
	expected := 1 + u.state.Before[u.state.At]
	for i := range u.state.At {
		if earlier := &u.big[i]; alike(listed{Name: earlier.Name, Size: earlier.Size}, a) {
			expected++
		}
	}
	if count(found, a) < expected {
		return false, nil
	}
	for _, one := range slices.Backward(found) {
		if alike(one, a) {
			if u.last.Body, err = encode(one); err != nil {
				return false, asFault(err)
			}
			break
		}
	}
	return true, nil
}

func count(there []listed, a *attachment) (n int) {
	for _, one := range there {
		if alike(one, a) {
			n++
		}
	}
	return n
}

// alike reports whether an attachment that is there may be this one.
func alike(one listed, a *attachment) bool {
	return one.Name == a.Name && (a.Size == 0 || one.Size >= a.Size && one.Size <= a.Size+slack)
}

// reading reads a file in pieces, forward; to go back it begins anew. Of a file
// no more than a piece is in memory.
type reading struct {
	files  Files
	a      *attachment
	from   io.ReadCloser // nil: not open
	buffer []byte
	// filled bytes of the buffer begin at the byte start.
	start  int64
	filled int
}

// at returns the bytes from a place on, as many as make a piece. They are valid
// until the next call. The last piece comes only after the file has ended as it
// should: until it is sent, nothing of the file is in the mailbox.
func (r *reading) at(ctx context.Context, next int64) ([]byte, error) {
	if within := next - r.start; r.filled > 0 && within >= 0 && within < int64(r.filled) {
		return r.buffer[within:r.filled], nil
	}
	position := r.start + int64(r.filled)
	if r.from == nil || next < position {
		r.close()
		var err error
		if r.from, err = r.open(ctx); err != nil {
			return nil, err
		}
		position = 0
	}
	if n, err := io.CopyN(io.Discard, r.from, next-position); err != nil {
		return nil, r.broken(ctx, position+n, err)
	}
	r.start = next
	r.filled = int(min(int64(len(r.buffer)), r.a.Size-next))
	if n, err := io.ReadFull(r.from, r.buffer[:r.filled]); err != nil {
		return nil, r.broken(ctx, next+int64(n), err)
	}
	if next+int64(r.filled) == r.a.Size {
		n, err := io.CopyN(io.Discard, r.from, 1)
		if n != 0 || !errors.Is(err, io.EOF) {
			return nil, r.broken(ctx, r.a.Size+n, err)
		}
	}
	return r.buffer[:r.filled], nil
}

func (r *reading) open(ctx context.Context) (io.ReadCloser, error) {
	if r.a.Blob == "" {
		return io.NopCloser(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(r.a.text))), nil
	}
	return r.files.Open(ctx, r.a.Blob, r.a.Sum)
}

// broken is the error of a file that ends otherwise than it should.
func (r *reading) broken(ctx context.Context, at int64, err error) error {
	r.filled, r.start = 0, 0
	r.close()
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fileChanged(r.a)
	}
	if fault.Stopped(ctx, err) {
		return stopped(ctx)
	}
	return fmt.Errorf("read %s at %d: %w", r.a.Blob, at, err)
}

func (r *reading) close() {
	if r.from != nil {
		_ = r.from.Close() // it was only read
		r.from = nil
	}
}
