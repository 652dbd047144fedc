package worker

import (
	"context"
	"errors"
	"slices"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/subscriber"
)

// newFeedStream is the subscriber's stream on a server of its own.
func newFeedStream(t *testing.T) feedStream {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.WithoutCancel(t.Context())) })
	conn, err := jet.Connect(t.Context(), jet.Options{InProcess: server.InProcess(), ManageStreams: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	if err := conn.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return feedStream{conn: conn}
}

func TestTheIndexOfAFeedIsCommittedWithItsCursor(t *testing.T) {
	t.Parallel()
	s := newFeedStream(t)
	feed := subscriber.Feed{Subscription: "inbox", Mailbox: "Ann@contoso.com", Part: "-"}
	x := index.Open(nil, index.Manifest{})
	for n := range 40 {
		x.Put(index.Entry{ID: string(rune('a' + n)), Version: 7})
	}
	manifest, segments := x.Flush()
	commit := subscriber.Commit{
		Feed: feed, Events: []subscriber.Event{{ID: "1", Body: []byte("{}"), Header: map[string]string{"Outlook-Id": "1"}}},
		Segments: segments, Cursor: []byte("one"), Moves: &subscriber.Moves{Mark: true},
	}
	seq, err := s.Commit(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	x = index.Open(index.NewCache(1<<20, func(ctx context.Context, id string) ([]byte, error) { return s.Segment(ctx, feed, id) }), manifest)
	if e, ok, err := x.Look(t.Context(), "b"); err != nil || !ok || e.Version != 7 {
		t.Errorf("look: %+v, %v, %v", e, ok, err)
	}
	at, err := s.Moved(t.Context(), feed.Subscription, feed.Mailbox)
	if err != nil || at != seq-1 {
		t.Errorf("marker at %d, %v; want %d", at, err, seq-1)
	}

	// Both fences have the subscriber's name.
	for name, change := range map[string]func(*subscriber.Commit){
		"cursor": func(c *subscriber.Commit) { c.After, c.Moves.After = seq+1, at },
		"marker": func(c *subscriber.Commit) { c.After, c.Moves.After = seq, at-1 },
	} {
		late := commit
		late.Moves = &subscriber.Moves{}
		late.Segments = []index.Segment{{ID: "late", Data: []byte("x")}}
		change(&late)
		if _, err := s.Commit(t.Context(), late); !errors.Is(err, subscriber.ErrFenced) {
			t.Errorf("%s has moved: %v", name, err)
		}
	}

	lost := []index.Segment{{ID: "lost", Data: []byte("x")}}
	if err := s.PutSegments(t.Context(), feed, lost); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Orphans(t.Context(), feed, manifest.Segments(), seq); err != nil || len(got) != 0 {
		t.Errorf("orphans before the cursor moved: %v, %v", got, err)
	}
	if seq, err = s.Commit(t.Context(), subscriber.Commit{Feed: feed, Cursor: []byte("two"), After: seq}); err != nil {
		t.Fatal(err)
	}
	orphans, err := s.Orphans(t.Context(), feed, manifest.Segments(), seq)
	if err != nil || !slices.Equal(orphans, []string{"lost"}) {
		t.Errorf("orphans %v, %v", orphans, err)
	}
	if err := s.DropSegments(t.Context(), feed, orphans); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Segment(t.Context(), feed, "lost"); fault.Of(err).Code != "index_missing" {
		t.Errorf("a dropped piece: %v", err)
	}
	if _, err := s.Segment(t.Context(), feed, segments[0].ID); err != nil {
		t.Errorf("the piece that is named: %v", err)
	}
}
