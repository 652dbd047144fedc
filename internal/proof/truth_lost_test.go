//go:build unix

package proof_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// difference is what must be told of a message, and for what reason.
type difference struct{ kind, why string }

// TestProofLostToken has Graph lose a delta token at 10,000 messages, and once
// more in the middle of the full read that follows: of all that is read again
// only what is different is told, and nothing is told that nobody changed.
func TestProofLostToken(t *testing.T) {
	together(t)
	const size, each = 10_000, 30
	c := newCrew(t, 2, func(*graph) string {
		return `  - {name: inbox, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: [me], every: 1s, start: all, query: {$select: "subject,isRead,parentFolderId,receivedDateTime"}}
`
	}, "--partial-updates")
	l := c.populate(mailPlans(), 0)
	b := l.boxes[0]
	scopes := []*scope{inboxScope(l, "inbox")}
	create := func(n int) []string {
		t.Helper()
		var ids []string
		for len(ids) < n {
			var acts []sandbox.Act
			for range min(n-len(ids), 500) {
				acts = append(acts, b.act(http.MethodPost, "mailFolders/inbox/messages", map[string]any{"subject": b.name("mail")}))
			}
			ids = append(ids, c.done(l, acts)...)
		}
		return ids
	}
	old := create(size)
	p := c.hire()
	v, witness, stopReading := c.watch()
	defer stopReading()
	began := time.Now()
	until(t, 2*time.Minute, 100*time.Millisecond, "the first full read", func() bool { return v.agree(l.ledger, scopes) })
	t.Logf("%d messages were told in %.1f s", size, time.Since(began).Seconds())
	p.stop() // what follows happens all between two polls
	before := v.count()

	want := map[string]difference{}
	next := 0
	take := func(n int) []string { next += n; return old[next-n : next] }
	// Half of it before the loss, half after: neither the old token nor the new
	// read alone could tell of both.
	for half := range 2 {
		if half == 1 {
			c.graph.must(http.MethodPost, "expire-delta", map[string]string{"mailbox": b.upn}, nil)
		}
		for _, id := range create(each) {
			want[id] = difference{"created", "it came"}
		}
		var acts []sandbox.Act
		if tellsLosses {
			for _, id := range take(each) {
				want[id] = difference{"updated", "it was changed"}
				acts = append(acts, b.act(http.MethodPatch, "messages/"+esc(id), map[string]any{"isRead": false, "categories": []string{"changed"}}))
			}
			for _, id := range take(each) {
				want[id] = difference{"updated", "it was moved away and back"}
				acts = append(acts, b.move(id, "archive"), b.move(id, "inbox"))
			}
			for _, id := range take(each) {
				want[id] = difference{"deleted", "it was deleted for good"}
				acts = append(acts, b.act(http.MethodPost, "messages/"+esc(id)+"/permanentDelete", nil))
			}
			for _, id := range take(each) {
				want[id] = difference{"deleted", "it was moved away"}
				acts = append(acts, b.move(id, "archive"))
			}
		}
		for _, id := range create(each) { // of which nobody needs to know
			acts = append(acts, b.act(http.MethodPost, "messages/"+esc(id)+"/permanentDelete", nil))
		}
		c.done(l, acts)
	}
	if tellsLosses { // once more, in the middle of the full read
		c.graph.must(http.MethodPost, "faults", map[string]any{
			"match": map[string]string{"query": "skiptoken"}, "skip": size / 250, "fault": map[string]string{"kind": "delta_lost"},
		}, nil)
	}
	p = c.hire()
	began = time.Now()
	waited(t.Context(), pick(40*time.Second, 2*time.Minute), 100*time.Millisecond, func() bool { return v.agree(l.ledger, scopes) })
	t.Logf("the view was the truth again, or was given up, after %.1f s", time.Since(began).Seconds())
	pause(t.Context(), 4*time.Second) // what must not come has time to come
	stopReading()
	c.check(v, l, scopes)
	c.complete(v, witness)
	report(t, v.differences(before, want))
	p.stop()
	c.owner.stop()
	for _, p := range c.workers {
		report(t, p.stumbles())
	}
}

// done has acts done that must succeed, and returns the ids of what they were
// done to.
func (c *crew) done(l *life, acts []sandbox.Act) (ids []string) {
	c.t.Helper()
	for part := range slices.Chunk(acts, 500) {
		answers, err := l.do(c.t.Context(), part)
		if err != nil {
			c.t.Fatal(err)
		}
		for i, a := range answers {
			if a.Status >= http.StatusBadRequest || len(a.Writes) == 0 {
				c.t.Fatalf("%s %s: %d %s", part[i].Method, part[i].Path, a.Status, a.Body)
			}
			ids = append(ids, a.Writes[0].ID)
		}
	}
	return ids
}

// differences compares what was told after so many events with what should have
// been: each message once.
func (v *view) differences(after int, want map[string]difference) (problems []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	got := map[string][]string{}
	seen := 0
	for key, t := range v.tracks {
		for _, n := range t.news {
			if n.nth > after {
				got[key.item] = append(got[key.item], n.kind)
				seen++
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		kinds, d := got[id], want[id]
		switch {
		case d.kind == "":
			problems = append(problems, fmt.Sprintf("%s was told as %v, but nothing had happened to it", shortID(id), kinds))
		case len(kinds) != 1 || kinds[0] != d.kind && (tellsKinds || d.kind == "deleted"):
			problems = append(problems, fmt.Sprintf("%s was told as %v, want once %s: %s", shortID(id), kinds, d.kind, d.why))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if len(got[id]) == 0 {
			problems = append(problems, fmt.Sprintf("%s was not told, want %s: %s", shortID(id), want[id].kind, want[id].why))
		}
	}
	if seen != len(want) {
		problems = append(problems, fmt.Sprintf("%d events were told, want %d", seen, len(want)))
	}
	return problems
}
