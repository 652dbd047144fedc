//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/sandbox"
)

// life is what people do in their mailboxes, by dice: the same seed makes the
// same plans. It is done in Outlook itself (the sandbox's acts), not by the
// connector's application, so that the connector has all of its limits to itself.
// Each lane lives in some of the mailboxes and makes plans of several acts at a
// time.
type life struct {
	graph  *graph
	ledger *ledger
	boxes  []*box
	byUPN  map[string]*box
	// kinds are the plans that are made, each as often as it stands there.
	kinds []plan

	mu      sync.Mutex
	acts    int            // that were done
	refused map[string]int // by what was asked and answered: the item had just gone
}

// plan makes a few acts in one mailbox.
type plan func(l *life, b *box, d *rand.Rand) []sandbox.Act

// box is what the life knows of a mailbox: what it can do something with.
type box struct {
	upn string
	n   int // number of the mailbox

	mu      sync.Mutex
	items   map[string]*shelf     // by what
	folders map[string]*folderRow // that were made, by id; the well-known ones are in known
	known   map[string]string     // well-known name → id
	lists   []string              // of tasks
	// projects is the folder of that name, which is never touched itself.
	projects string
	contacts string   // the first folder of contacts
	circles  []string // the other ones: Friends, Others
	serial   int      // numbers what is made
}

// folderRow is a folder that the life has made.
type folderRow struct{ id, parent string }

// shelf is a set of items from which one can take one by dice.
type shelf struct {
	ids []string
	at  map[string]int
	in  map[string]string // where each lies
}

func newShelf() *shelf { return &shelf{at: map[string]int{}, in: map[string]string{}} }

func (s *shelf) put(id, in string) {
	if _, known := s.at[id]; !known {
		s.at[id] = len(s.ids)
		s.ids = append(s.ids, id)
	}
	s.in[id] = in
}

func (s *shelf) drop(id string) {
	i, known := s.at[id]
	if !known {
		return
	}
	last := s.ids[len(s.ids)-1]
	s.ids[i], s.at[last] = last, i
	s.ids = s.ids[:len(s.ids)-1]
	delete(s.at, id)
	delete(s.in, id)
}

func (s *shelf) one(d *rand.Rand) string {
	if len(s.ids) == 0 {
		return ""
	}
	return s.ids[d.IntN(len(s.ids))]
}

// within returns up to n items that lie in a place.
func (s *shelf) within(in string, n int) (ids []string) {
	for _, id := range s.ids {
		if len(ids) == n {
			break
		}
		if s.in[id] == in {
			ids = append(ids, id)
		}
	}
	return ids
}

// newLife looks at the mailboxes of a sandbox.
func newLife(ctx context.Context, g *graph, kinds []plan) (*life, error) {
	l := &life{graph: g, ledger: newLedger(), byUPN: map[string]*box{}, kinds: kinds, refused: map[string]int{}}
	for n, upn := range g.People {
		b := &box{upn: upn, n: n, items: map[string]*shelf{}, folders: map[string]*folderRow{}, known: map[string]string{}}
		for _, what := range []string{"message", "event", "series", "contact", "todoTask"} {
			b.items[what] = newShelf()
		}
		for _, name := range []string{"msgfolderroot", "inbox", "archive", "drafts", "sentitems", "deleteditems", "junkemail"} {
			var f struct{ ID string }
			if err := l.look(ctx, upn, "mailFolders/"+name, &f); err != nil {
				return nil, err
			}
			b.known[name] = f.ID
		}
		var lists struct{ Value []struct{ ID string } }
		if err := l.look(ctx, upn, "todo/lists", &lists); err != nil {
			return nil, err
		}
		for _, list := range lists.Value {
			b.lists = append(b.lists, list.ID)
		}
		l.boxes = append(l.boxes, b)
		l.byUPN[upn] = b
	}
	return l, nil
}

// look reads something as its owner.
func (l *life) look(ctx context.Context, upn, path string, v any) error {
	done, err := l.do(ctx, []sandbox.Act{{Mailbox: upn, Method: http.MethodGet, Path: path}})
	if err != nil {
		return err
	}
	if done[0].Status != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", upn, path, done[0].Status, done[0].Body)
	}
	return json.Unmarshal(done[0].Body, v)
}

// all reads a whole list as its owner, page by page.
func (l *life) all(ctx context.Context, upn, path string, one func(json.RawMessage) error) error {
	const page = 1000
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	for skip := 0; ; skip += page {
		var list struct{ Value []json.RawMessage }
		if err := l.look(ctx, upn, fmt.Sprintf("%s%s$top=%d&$skip=%d", path, sep, page, skip), &list); err != nil {
			return err
		}
		for _, raw := range list.Value {
			if err := one(raw); err != nil {
				return err
			}
		}
		if len(list.Value) < page {
			return nil
		}
	}
}

// do has the acts done, and notes what was written.
func (l *life) do(ctx context.Context, acts []sandbox.Act) ([]sandbox.Acted, error) {
	var answer struct{ Acts []sandbox.Acted }
	began := time.Now() // no write is older
	if err := l.graph.control(ctx, http.MethodPost, "act", map[string]any{"acts": acts}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Acts) != len(acts) {
		return nil, fmt.Errorf("%d acts have %d answers", len(acts), len(answer.Acts))
	}
	for i, done := range answer.Acts {
		for _, w := range done.Writes {
			if l.ledger.note(w, began) {
				l.learn(w)
			}
		}
		switch {
		case done.Status >= http.StatusInternalServerError:
			return nil, fmt.Errorf("%s %s: %d %s", acts[i].Method, acts[i].Path, done.Status, done.Body)
		case done.Status >= http.StatusBadRequest:
			l.refuse(acts[i], done)
		case acts[i].Path == "events" && acts[i].Method == http.MethodPost:
			l.learnSeries(acts[i], done)
		}
	}
	l.mu.Lock()
	l.acts += len(acts)
	l.mu.Unlock()
	return answer.Acts, nil
}

// refuse counts an act that was refused: by what was done to what, and the code.
func (l *life) refuse(a sandbox.Act, done sandbox.Acted) {
	var body struct {
		Error struct{ Code, Message string }
	}
	_ = json.Unmarshal(done.Body, &body) // a body that cannot be read has no code
	words := strings.Split(a.Path, "/")
	for i, w := range words {
		if len(w) > 30 {
			words[i] = "…"
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[fmt.Sprintf("%s %s: %s", a.Method, strings.Join(words, "/"), body.Error.Code)]++
}

// learn brings what is known of a mailbox up to a write.
func (l *life) learn(w sandbox.Write) {
	b := l.byUPN[w.Mailbox]
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.What == "mailFolder" {
		switch {
		case w.Gone:
			delete(b.folders, w.ID)
		case b.projects == "" && w.Name == projects:
			b.projects = w.ID
		case w.ID != b.projects && !slices.Contains(b.wellKnown(), w.ID):
			b.folders[w.ID] = &folderRow{w.ID, w.In}
		}
		return
	}
	s := b.items[w.What]
	switch {
	case s == nil:
	case w.Gone:
		s.drop(w.ID)
		b.items["series"].drop(w.ID)
	default:
		s.put(w.ID, w.In)
	}
}

// learnSeries keeps what was made as a series.
func (l *life) learnSeries(a sandbox.Act, done sandbox.Acted) {
	var e struct{ ID, Type string }
	if json.Unmarshal(done.Body, &e) != nil || e.Type != "seriesMaster" {
		return
	}
	b := l.byUPN[a.Mailbox]
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items["series"].put(e.ID, "")
}

func (b *box) wellKnown() (ids []string) {
	for _, id := range b.known {
		ids = append(ids, id)
	}
	return ids
}

// lane lives in some of the mailboxes until so many changes were made in all, at
// most so many a second.
func (l *life) lane(ctx context.Context, d *rand.Rand, boxes []*box, changes int, pace *pace) error {
	for l.ledger.count() < changes {
		b := boxes[d.IntN(len(boxes))]
		acts := l.kinds[d.IntN(len(l.kinds))](l, b, d)
		if len(acts) == 0 {
			continue
		}
		before := l.ledger.count()
		if _, err := l.do(ctx, acts); err != nil {
			return err
		}
		pace.spend(ctx, l.ledger.count()-before)
		if ctx.Err() != nil {
			return errors.New("the life was cut short")
		}
	}
	return nil
}

// live runs the lanes to their end.
func (l *life) live(ctx context.Context, seed uint64, changes int, perSecond float64) error {
	const lanes = 4
	p := &pace{gap: time.Duration(float64(time.Second) / perSecond), next: time.Now()}
	var wait sync.WaitGroup
	failed := make([]error, lanes)
	for n := range lanes {
		var mine []*box
		for i, b := range l.boxes {
			if i%lanes == n {
				mine = append(mine, b)
			}
		}
		if len(mine) == 0 {
			continue
		}
		wait.Go(func() { failed[n] = l.lane(ctx, rand.New(rand.NewPCG(seed, uint64(n))), mine, changes, p) })
	}
	wait.Wait()
	return errors.Join(failed...)
}

// pace bounds how many things are done in a second.
type pace struct {
	mu   sync.Mutex
	gap  time.Duration
	next time.Time
}

func (p *pace) spend(ctx context.Context, n int) {
	p.mu.Lock()
	if now := time.Now(); p.next.Before(now.Add(-time.Second)) {
		p.next = now.Add(-time.Second) // what was not used is lost, but for a second
	}
	p.next = p.next.Add(time.Duration(max(n, 1)) * p.gap)
	until := p.next
	p.mu.Unlock()
	pause(ctx, time.Until(until))
}

// act is one act with its body.
func (b *box) act(method, path string, body any) sandbox.Act {
	a := sandbox.Act{Mailbox: b.upn, Method: method, Path: path}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err) // maps of texts and numbers always have a JSON form
		}
		a.Body = text
	}
	return a
}

// name makes a name that no other thing has.
func (b *box) name(what string) string {
	b.serial++
	return fmt.Sprintf("%s %d.%d", what, b.n, b.serial)
}

// esc writes an id into a path.
func esc(id string) string { return url.PathEscape(id) }

// audit checks that the ledger is what Graph lists: each message of each mailbox
// with its newest version, and no other.
func (l *life) audit(ctx context.Context) error {
	for _, b := range l.boxes {
		found := map[string]bool{}
		err := l.all(ctx, b.upn, "messages?$select=changeKey,parentFolderId", func(raw json.RawMessage) error {
			var m struct{ ID, ChangeKey, ParentFolderID string }
			if err := json.Unmarshal(raw, &m); err != nil {
				return err
			}
			found[m.ID] = true
			item := l.ledger.items[m.ID]
			if item == nil {
				return fmt.Errorf("%s has the message %s, of which the ledger has nothing", b.upn, shortID(m.ID))
			}
			if is := item.last(); is.gone || is.seq != version(m.ChangeKey) || is.in != m.ParentFolderID {
				return fmt.Errorf("%s has the message %s in version %d in %s, the ledger says %+v", b.upn, shortID(m.ID), version(m.ChangeKey), shortID(m.ParentFolderID), is)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, item := range l.ledger.items {
			if item.mailbox == b.upn && item.what == "message" && !item.last().gone && !found[id] {
				return fmt.Errorf("%s has not the message %s, of which the ledger says %+v", b.upn, shortID(id), item.last())
			}
		}
	}
	return nil
}
