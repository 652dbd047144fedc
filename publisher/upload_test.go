package publisher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
)

func TestLargeAttachmentsComeToTheirDraft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// By session, by a request of its own, by session, and within the mail.
	r.files.put("large", noise(1, 10_000_000))
	r.files.put("middle", noise(2, 2_999_999))
	r.files.put("least", noise(3, leastSession))
	r.files.put("small", noise(4, 1000))
	in := r.work("mail.message.create", blobMail("large", "middle", "small", "least"))
	if len(in.big) != 3 || r.calls(http.MethodPost, routeAttach) != 0 {
		t.Fatalf("%d are taken out", len(in.big))
	}
	var saved []uploadState
	in.save = func(_ context.Context, s uploadState) error { saved = append(saved, stored(t, s)); return nil }
	state, answer, err := r.up.all(t.Context(), in)
	if err != nil || state.At != 3 || answer.Status != 201 || itemID(answer.Body) == "" {
		t.Fatalf("%+v, %+v: %v", state, answer, err)
	}
	r.wantAttached(in, "large", "middle", "least", "small")
	if got := r.calls(http.MethodPut, routeUpload); got != 4 || r.sent != 10_000_000+leastSession {
		t.Errorf("%d pieces with %d bytes", got, r.sent)
	}
	// The address is there before anything is sent to it, and gone after.
	if len(saved) != 5 || saved[0].URL.Reveal() == "" || saved[1].URL.Reveal() != "" || saved[1].At != 1 {
		t.Errorf("saved %+v", saved)
	}
	// Once more from what the ledger has: nothing is added.
	in.state = saved[len(saved)-1]
	if _, _, err := r.process().all(t.Context(), in); err != nil {
		t.Error(err)
	}
	r.wantAttached(in, "large", "middle", "least", "small")
}

// TestAnUploadGoesOnInAnotherProcess ends the process at each piece, before it has
// gone out and after.
func TestAnUploadGoesOnInAnotherProcess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const size = 3*pieceSize + 1000
	r.files.put("large", noise(1, size))
	for _, lost := range []bool{false, true} { // the answer to the last piece before the end
		for at := 1; at <= 4; at++ {
			in := r.work("mail.message.create", blobMail("large"))
			ctx, kill := context.WithCancel(t.Context())
			var ledger uploadState
			in.save = func(_ context.Context, s uploadState) error { ledger = stored(t, s); return nil }
			r.puts, r.sent = 0, 0
			r.onPut = func(n int, _ Piece) error {
				if n == at && !lost {
					kill()
				}
				return nil
			}
			if lost {
				r.box.ControlAim(putMatch(), sandbox.Aim{Skip: at - 1}, func(q *sandbox.Request) bool {
					q.After(func(a *sandbox.Answer) { a.Reset = true; kill() })
					return true
				})
			}
			_, _, err := r.process().all(ctx, in)
			kill()
			if fault.KindOf(err) != fault.Retry || fault.Of(err).Ambiguous {
				t.Fatalf("at %d: %v", at, err)
			}
			r.onPut, in.state = nil, ledger
			if _, _, err := r.process().all(t.Context(), in); err != nil {
				t.Fatalf("at %d, answer lost %t: %v", at, lost, err)
			}
			r.wantAttached(in, "large")
			if most := int64(size + pieceSize); r.sent > most {
				t.Errorf("at %d, answer lost %t: %d bytes were sent for %d", at, lost, r.sent, size)
			}
			r.box.ClearControls()
		}
	}
	if sessions := r.calls(http.MethodPost, routeSession); sessions != 8 {
		t.Errorf("%d sessions for 8 files", sessions)
	}
}

// TestNothingThatGoesWrongIsAttachedTwice plays random faults and ends, until it
// is done.
func TestNothingThatGoesWrongIsAttachedTwice(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			playFaults(t, seed)
		})
	}
}

func playFaults(t *testing.T, seed uint64) {
	t.Helper()
	r := newRig(t)
	r.files.put("large", noise(1, pieceSize+77))
	r.files.put("middle", noise(2, 2_950_000))
	faults := []sandbox.ControlFunc{
		sandbox.FailBefore(503, "serviceNotAvailable", ""), sandbox.FailAfterEffect(504, "UnknownError"), sandbox.ResetBeforeEffect(),
		sandbox.ResetAfterEffect(), sandbox.FailBefore(500, "ErrorInternalServerError", ""), sandbox.EmptyBody(),
		sandbox.FailBefore(404, "ErrorItemNotFound", ""), sandbox.HTMLPage(502), sandbox.HTMLPageAfterEffect(200),
	}
	random := rand.New(rand.NewPCG(seed, 1))
	in := r.work("mail.message.create", blobMail("large", "middle"))
	names := []string{"large", "middle"}
	var ledger uploadState
	in.save = func(_ context.Context, s uploadState) error {
		if random.IntN(6) == 0 {
			return errors.New("no ledger")
		}
		ledger = stored(t, s)
		return nil
	}
	trail := ""
	rule := r.box.KeepControl(sandbox.Match{}, func(q *sandbox.Request) bool {
		if !strings.HasSuffix(q.Route, routeUpload) && !strings.Contains(q.Route, "/attachments") {
			return false
		}
		if random.IntN(4) != 0 {
			return false
		}
		n := random.IntN(len(faults))
		trail += fmt.Sprintf("%s %s: %d\n", q.Method, q.Route, n)
		return faults[n](q)
	})
	var err error
	for range 40 {
		ctx, kill := context.WithCancel(t.Context())
		r.onPut = func(int, Piece) error {
			if random.IntN(8) == 0 {
				kill()
			}
			return nil
		}
		in.state = ledger
		_, _, err = r.process().all(ctx, in)
		if kill(); err == nil {
			break
		}
		if fault.Of(err).Ambiguous {
			t.Fatalf("ambiguous: %v", err)
		}
	}
	r.onPut = nil
	rule.Remove()
	if err != nil {
		t.Fatalf("it does not end: %v\n%s", err, trail)
	}
	if r.wantAttached(in, names...); t.Failed() {
		t.Log(trail)
	}
}

// TestAnAttachmentOfUnknownEndIsLeftToSettle: Exchange may still be at work on what it
// answered with 504, and shows it later.
func TestAnAttachmentOfUnknownEndIsLeftToSettle(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file string
		match      sandbox.Match
	}{
		{"by a request", "middle", sandbox.Match{Method: http.MethodPost, Route: routeAttach}},
		{"by a session", "large", putMatch()},
	} {
		for _, late := range []bool{true, false} {
			t.Run(fmt.Sprint(tc.name, ", late ", late), func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.files.put("large", noise(1, leastSession))
				r.files.put("middle", noise(2, 2_950_000))
				in := r.work("mail.message.create", blobMail(tc.file))
				in.settle = time.Hour
				in.save = func(_ context.Context, s uploadState) error { in.state = stored(t, s); return nil }
				fault := sandbox.FailAfterEffect(504, "UnknownError")
				if !late {
					fault = sandbox.FailBefore(504, "UnknownError", "")
				}
				r.box.Control(tc.match, fault)
				// What is there is not shown yet, and a session that has ended is gone.
				hidden := r.box.KeepControl(sandbox.Match{Method: http.MethodGet, Route: routeAttach}, sandbox.NotShownYet())
				rounds := 0
				for ; rounds < 5; rounds++ {
					_, _, err := r.process().all(t.Context(), in)
					if err == nil {
						break
					}
					if codeOf(err) != "upload_settles" {
						t.Fatal(err)
					}
					if rounds == 1 {
						hidden.Remove()
					}
					// Nothing is looked for before its time, which then comes.
					before := r.calls(http.MethodGet, routeAttach)
					if _, _, err := r.process().all(t.Context(), in); codeOf(err) != "upload_settles" || r.calls(http.MethodGet, routeAttach) != before {
						t.Errorf("it does not wait: %v", err)
					}
					in.state.Open = in.state.Open.Add(-in.settle)
				}
				hidden.Remove()
				r.wantAttached(in, tc.file)
				if got, want := r.calls(tc.match.Method, tc.match.Route), map[bool]int{true: 1, false: 2}[late]; got != want {
					t.Errorf("%d requests, want %d", got, want)
				}
			})
		}
	}
}

func TestASessionThatIsGoneIsBegunAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, 2*pieceSize))
	in := r.work("mail.message.create", blobMail("large"))
	r.onPut = func(n int, _ Piece) error {
		if n != 2 {
			return nil
		}
		return r.Cancel(t.Context(), Session{Mailbox: "me", URL: in.state.URL.Secret})
	}
	in.save = func(_ context.Context, s uploadState) error { in.state = s; return nil }
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.wantAttached(in, "large")
	if sessions := r.calls(http.MethodPost, routeSession); sessions != 2 {
		t.Errorf("%d sessions", sessions)
	}
	// One that is never there is not begun for ever.
	again := r.work("mail.message.create", blobMail("large"))
	r.onPut = nil
	r.box.KeepControl(putMatch(), sandbox.FailBefore(404, "ErrorItemNotFound", ""))
	if _, _, err := r.up.all(t.Context(), again); codeOf(err) != "upload_gone" || fault.KindOf(err) != fault.Retry {
		t.Errorf("%v", err)
	}
	if sessions := r.calls(http.MethodPost, routeSession); sessions != 2+mostSessions {
		t.Errorf("%d sessions", sessions)
	}
}

func TestASessionOfAYoungDraftIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, leastSession))
	in := r.work("mail.message.create", blobMail("large"))
	r.box.ControlN(sandbox.Match{Route: routeSession}, 2, sandbox.FailBefore(404, "ErrorItemNotFound", ""))
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.wantAttached(in, "large")
	// A draft that is really gone is told.
	in.params = map[string]string{"message-id": "AAMkAGone="}
	if _, _, err := r.up.all(t.Context(), in); fault.KindOf(err) != fault.Poison {
		t.Errorf("%v", err)
	}
}

func TestAnAddressElsewhereGetsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, leastSession))
	in := r.work("mail.message.create", blobMail("large"))
	r.box.Control(sandbox.Match{Route: routeSession}, sandbox.OtherJSON(`{"uploadUrl":"https://outlook.office.com.evil.example/x?authtoken=y"}`))
	if _, _, err := r.up.all(t.Context(), in); codeOf(err) != "upload_refused" || fault.KindOf(err) != fault.Poison {
		t.Errorf("%v", err)
	}
	// A state of another's making leads nowhere either.
	in.state = uploadState{Plan: planOf(in.big), Before: []int{0}, Begun: true, URL: secretText{seal.Secret(r.box.GraphURL() + "/me/sendMail")}}
	if _, _, err := r.up.all(t.Context(), in); codeOf(err) != "upload_refused" {
		t.Errorf("%v", err)
	}
	if n := r.calls(http.MethodPut, routeUpload); n != 0 {
		t.Errorf("%d pieces", n)
	}
}

// TestASessionThatExpectsOtherBytesIsAsked: whatever an answer says, the file is
// whole in the end.
func TestASessionThatExpectsOtherBytesIsAsked(t *testing.T) {
	t.Parallel()
	for _, said := range []string{`["0"]`, `["17-"]`, `["3932159"]`, `["9999999"]`, `["-5"]`, `["x"]`, `[]`, `"0"`} {
		r := newRig(t)
		r.files.put("large", noise(1, 2*pieceSize+5))
		in := r.work("mail.message.create", blobMail("large"))
		r.box.Control(putMatch(), sandbox.OtherJSON(`{"NextExpectedRanges":`+said+`}`))
		if _, _, err := r.up.all(t.Context(), in); err != nil && fault.KindOf(err) != fault.Retry {
			t.Fatalf("%s: %v", said, err)
		} else if err != nil {
			in.state = uploadState{}
			if _, _, err := r.up.all(t.Context(), in); err != nil {
				t.Fatalf("%s: %v", said, err)
			}
		}
		r.wantAttached(in, "large")
	}
}

func TestNothingGoesOutThatTheLedgerDoesNotHave(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, leastSession))
	r.files.put("middle", noise(2, 2_999_000))
	in := r.work("mail.message.create", blobMail("large", "middle"))
	in.save = func(context.Context, uploadState) error { return ErrConflict }
	if _, _, err := r.up.all(t.Context(), in); !errors.Is(err, ErrConflict) {
		t.Errorf("%v", err)
	}
	if n := r.calls(http.MethodPut, routeUpload) + r.calls(http.MethodPost, routeAttach); n != 0 {
		t.Errorf("%d requests", n)
	}
	// Nor what somebody else may be sending by now.
	in.save = nil
	in.deadline = func() time.Time { return time.Now().Add(-time.Second) }
	if _, _, err := r.up.all(t.Context(), in); codeOf(err) != codeDeadlinePassed || fault.KindOf(err) != fault.Retry {
		t.Errorf("%v", err)
	}
	if n := r.calls(http.MethodPost, routeSession); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestAFileThatIsStoredAgainIsNotMixed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, 2*pieceSize))
	in := r.work("mail.message.create", blobMail("large"))
	in.save = func(_ context.Context, s uploadState) error { in.state = s; return nil }
	ctx, kill := context.WithCancel(t.Context())
	r.onPut = func(n int, _ Piece) error {
		if n == 2 {
			kill()
		}
		return nil
	}
	if _, _, err := r.up.all(ctx, in); fault.KindOf(err) != fault.Retry {
		t.Fatal(err)
	}
	r.onPut = nil
	r.files.put("large", noise(9, 2*pieceSize))
	if _, _, err := r.process().all(t.Context(), in); codeOf(err) != "blob_changed" || fault.KindOf(err) != fault.Poison {
		t.Errorf("with the old plan: %v", err)
	}
	// Planned anew, it is another work.
	_, in.big, _ = splitAttachments(t.Context(), r.files, r.operation("mail.message.create"), blobMail("large"))
	if _, _, err := r.process().all(t.Context(), in); codeOf(err) != "blob_changed" {
		t.Errorf("with a new plan: %v", err)
	}
	r.wantAttached(in)
}

// TestFilesOfTheSameNameAreCounted: two equal ones are two, also in an item that
// had one before.
func TestFilesOfTheSameNameAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, leastSession))
	in := r.work("mail.message.create", blobMail("large", "large"))
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	in.big = in.big[:1]
	// The answer to the last piece is lost: two are there before, and three after.
	r.box.Control(putMatch(), sandbox.ResetAfterEffect())
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.wantAttached(in, "large", "large", "large")
	// A session is gone, and what is there is not of it.
	r.box.Control(putMatch(), sandbox.FailBefore(404, "ErrorItemNotFound", ""))
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.wantAttached(in, "large", "large", "large", "large")
}

func TestFilesComeToEventsAndTasks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, 5_000_000))
	in := r.work("calendar.event.create", []byte(`{"subject":"s","start":{"dateTime":"2026-12-01T10:00:00","timeZone":"UTC"},
		"end":{"dateTime":"2026-12-01T11:00:00","timeZone":"UTC"},"attachments":[{"name":"large","blob":"OUTLOOK_BLOB/large"}]}`))
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.wantAttached(in, "large")

	at := map[string]string{"todoTaskList-id": r.post("todo.taskList.create", nil, []byte(`{"displayName":"list"}`))}
	at["todoTask-id"] = r.post("todo.task.create", at, []byte(`{"title":"task"}`))
	op := r.operation("todo.taskAttachment.create")
	slim, big, err := splitAttachments(t.Context(), r.files, op, []byte(`{"name":"large","blob":"OUTLOOK_BLOB/large"}`))
	if err != nil || slim != nil || len(big) != 1 {
		t.Fatalf("%s, %d: %v", slim, len(big), err)
	}
	in.kind, in.params, in.big = ofTask, at, big
	if _, _, err := r.up.all(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	r.wantAttached(in, "large")
}

// TestThereIsRoomForAFewFilesOnly: what waits for room is given back.
func TestThereIsRoomForAFewFilesOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.files.put("large", noise(1, leastSession))
	in := r.work("mail.message.create", blobMail("large"))
	for range uploadRoom {
		r.up.room <- struct{}{}
	}
	_, _, err := r.up.all(t.Context(), in)
	if marked := fault.Of(err); marked == nil || marked.Kind != fault.Retry || marked.Code != "uploads_busy" || marked.After <= 0 {
		t.Errorf("%v", err)
	}
	<-r.up.room
	if _, _, err := r.up.all(t.Context(), in); err != nil || len(r.up.room) != uploadRoom-1 {
		t.Errorf("%v, %d in the room", err, len(r.up.room))
	}
}

func TestTheAddressIsShownByNothingButTheLedger(t *testing.T) {
	t.Parallel()
	s := uploadState{URL: secretText{"https://outlook.office.com/x?authtoken=canary"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if text := fmt.Sprintf(verb, s); strings.Contains(text, "canary") {
			t.Errorf("%s: %s", verb, text)
		}
	}
	if back := stored(t, s); back.URL.Reveal() != s.URL.Reveal() {
		t.Errorf("lost: %v", back)
	}
}
