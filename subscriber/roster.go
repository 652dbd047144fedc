package subscriber

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"outlook-connector/internal/index"
)

const (
	// rosterLife is how long a found feed that did not come back is remembered:
	// other workers have it.
	rosterLife = time.Hour
	// rosterSweep is how often the roster looks for such feeds.
	rosterSweep = time.Minute
	// viewLife is how long what a discovery's cursor says is good for before the
	// cursor is read again. Members are many and change slowly.
	viewLife, membersLife = 5 * time.Second, time.Minute
	// maxViews bounds the discoveries of which the newest state is kept.
	maxViews = 4096
	// standingLife is how long a feed counts as standing once it was looked up.
	standingLife = 5 * time.Minute
)

// feedRoster knows the feeds of a worker: those that the configuration names, and
// those that discovery found and that were delivered here. What it says of
// found feeds comes from the cursors of the discoveries. It is safe for
// concurrent use.
type feedRoster struct {
	subs   map[string]*Subscription
	stream Stream
	// named are the feeds that the configuration names; it does not change.
	named map[Feed]*state

	mu    sync.Mutex
	found map[Feed]*foundState
	views map[Feed]*foundView
	swept time.Time
}

// foundState is what a worker remembers of a found feed.
type foundState struct {
	*state
	seen time.Time
	// stood is when the feed was last held against its discovery, as one that was
	// found in round.
	stood time.Time
	round int
}

// foundView is what a discovery's cursor said.
type foundView struct {
	seq     uint64
	read    time.Time
	settled int
	// live are the feeds that are to be.
	live map[Feed]registration
	// left are the feeds that were retired lately.
	left []Feed
	// heard are the keys of all places, also of those that have no feed.
	heard map[index.Key]struct{}
}

// newRoster makes the roster of the subscriptions.
func newRoster(subs map[string]*Subscription, stream Stream) *feedRoster {
	r := &feedRoster{
		subs: subs, stream: stream, named: make(map[Feed]*state),
		found: make(map[Feed]*foundState), views: make(map[Feed]*foundView),
	}
	for _, sub := range subs {
		for feed, mailbox := range sub.feeds() {
			r.named[feed] = &state{mailbox: mailbox}
		}
	}
	return r
}

// len returns how many feeds are known.
func (r *feedRoster) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.named) + len(r.found)
}

// all returns the known feeds.
func (r *feedRoster) all() map[Feed]*state {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[Feed]*state, len(r.named)+len(r.found))
	maps.Copy(all, r.named)
	for feed, found := range r.found {
		all[feed] = found.state
	}
	return all
}

// find returns the subscription and the state of a delivered feed; ok=false for
// one that is neither configured here nor found for a subscription that is.
func (r *feedRoster) find(feed Feed, reg registration, now time.Time) (sub *Subscription, st *state, ok bool) {
	sub = r.subs[feed.Subscription]
	if sub == nil {
		return nil, nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	if st = r.named[feed]; st != nil {
		return sub, st, true
	}
	if !r.meant(sub, feed, reg) {
		return nil, nil, false
	}
	found := r.found[feed]
	if found == nil || found.mailbox != reg.Mailbox {
		found = &foundState{state: &state{mailbox: reg.Mailbox}}
		r.found[feed] = found
	}
	found.seen = now
	return sub, found.state, true
}

// meant reports whether the configuration means a feed that discovery found. It
// needs the lock.
func (r *feedRoster) meant(sub *Subscription, feed Feed, reg registration) bool {
	if reg.Mailbox == "" {
		return false
	}
	if reg.Container != "" {
		finder := Feed{Subscription: feed.Subscription, Mailbox: feed.Mailbox, Part: partFolders}
		return len(sub.Folders) > 0 && feed.Part == Part(reg.Container) && (r.named[finder] != nil || sub.followed())
	}
	return sub.followed() && feed.Part == sub.memberPart()
}

// sweep forgets what has not been seen for long. It needs the lock.
func (r *feedRoster) sweep(now time.Time) {
	if now.Sub(r.swept) < rosterSweep {
		return
	}
	r.swept = now
	for feed, found := range r.found {
		if now.Sub(found.seen) >= rosterLife && !found.busy() {
			delete(r.found, feed)
		}
	}
	for finder, view := range r.views {
		if now.Sub(view.read) >= membersLife {
			delete(r.views, finder)
		}
	}
}

// dropped forgets a found feed that the queue has no more.
func (r *feedRoster) dropped(feed Feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.found, feed)
}

// busy reports whether a poll is under way.
func (st *state) busy() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.polling
}

// view returns what the cursor of a discovery says, at most as old as life.
func (r *feedRoster) view(ctx context.Context, finder Feed, life time.Duration) (*foundView, error) {
	r.mu.Lock()
	old := r.views[finder]
	r.mu.Unlock()
	if old != nil && time.Since(old.read) < life {
		return old, nil
	}
	asked := time.Now()
	value, seq, err := r.stream.Cursor(ctx, finder)
	if err != nil {
		return nil, fmt.Errorf("read cursor of %s: %w", finder, err)
	}
	fresh := &foundView{seq: seq, read: asked}
	switch {
	case old != nil && old.seq == seq:
		fresh.settled, fresh.live, fresh.left, fresh.heard = old.settled, old.live, old.left, old.heard
	case value != nil:
		cur, err := decodeDiscovery(value)
		if err != nil {
			return nil, err
		}
		fresh.fill(r.subs[finder.Subscription], finder, r.mailbox(finder), cur)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.views) >= maxViews {
		clear(r.views) // so many that keeping some would not help
	}
	r.views[finder] = fresh
	return fresh, nil
}

// mailbox is the mailbox of a discovery as it goes into requests, "" where this
// worker has not met it.
func (r *feedRoster) mailbox(finder Feed) string {
	if st := r.named[finder]; st != nil {
		return st.mailbox
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if found := r.found[finder]; found != nil {
		return found.mailbox
	}
	return ""
}

func (v *foundView) fill(sub *Subscription, finder Feed, mailbox string, cur *discoveryCursor) {
	v.settled = cur.Settled
	v.live = make(map[Feed]registration)
	for _, place := range cur.live() {
		feed, reg := sub.foundFeed(finder, mailbox, place)
		v.live[feed] = reg
	}
	for _, left := range cur.Left {
		feed, _ := sub.foundFeed(finder, mailbox, &foundPlace{ID: left.ID})
		v.left = append(v.left, feed)
	}
	v.heard = make(map[index.Key]struct{}, len(cur.places))
	for id := range cur.places {
		v.heard[index.KeyOf(id)] = struct{}{}
	}
}

// siblings returns the other feeds of the same subscription and mailbox, also
// those that were retired lately: what they told counts, and until they have told
// the end of their items somebody else may have them. They may be up to 5 s old.
func (r *feedRoster) siblings(ctx context.Context, feed Feed) ([]Feed, error) {
	sub := r.subs[feed.Subscription]
	if sub == nil || len(sub.Folders) == 0 {
		return nil, nil
	}
	view, err := r.view(ctx, Feed{Subscription: feed.Subscription, Mailbox: feed.Mailbox, Part: partFolders}, viewLife)
	if err != nil {
		return nil, err
	}
	siblings := make([]Feed, 0, len(view.live)+len(view.left))
	for other := range view.live {
		if other != feed {
			siblings = append(siblings, other)
		}
	}
	for _, other := range view.left {
		if other != feed {
			siblings = append(siblings, other)
		}
	}
	return siblings, nil
}

// home returns the feed that reads a folder of the feed's mailbox for
// the same subscription; ok=false where none does.
func (r *feedRoster) home(ctx context.Context, feed Feed, folder string) (of Feed, ok bool, err error) {
	sub := r.subs[feed.Subscription]
	of = Feed{Subscription: feed.Subscription, Mailbox: feed.Mailbox, Part: Part(folder)}
	if sub == nil || folder == "" {
		return Feed{}, false, nil
	}
	if len(sub.Folders) == 0 {
		return of, r.named[of] != nil, nil
	}
	view, err := r.view(ctx, Feed{Subscription: feed.Subscription, Mailbox: feed.Mailbox, Part: partFolders}, viewLife)
	if err != nil {
		return Feed{}, false, err
	}
	_, ok = view.live[of]
	return of, ok, nil
}

// heard reports whether the discovery of the feed's mailbox has heard of a folder,
// read or not: of one that was made a moment ago it has not.
func (r *feedRoster) heard(ctx context.Context, feed Feed, folder string) (bool, error) {
	view, err := r.view(ctx, Feed{Subscription: feed.Subscription, Mailbox: feed.Mailbox, Part: partFolders}, viewLife)
	if err != nil {
		return false, err
	}
	_, heard := view.heard[index.KeyOf(folder)]
	return heard, nil
}

// standing holds the data of a delivered feed against the cursor of its
// discovery and returns what is right: a message may be an old one, written by
// a worker that was frozen. changed says that the message should be written
// anew. It looks every 5 minutes, and at every delivery of a feed that is to be
// retired.
func (r *feedRoster) standing(ctx context.Context, feed Feed, reg registration) (right registration, changed bool, err error) {
	sub := r.subs[feed.Subscription]
	if sub == nil {
		return reg, false, nil
	}
	finder, ok := sub.finder(feed, reg)
	if !ok || (!reg.Retire && r.stood(feed, reg.Found)) {
		return reg, false, nil
	}
	life := viewLife
	switch {
	case reg.Retire:
		life = 0 // what ends cannot be taken back
	case finder.Part == partMembers:
		life = membersLife
	}
	view, err := r.view(ctx, finder, life)
	if err != nil {
		return reg, false, err // in doubt nothing ends: the poll is tried again
	}
	if view.settled < reg.Found || view.settled == 0 {
		return reg, false, nil // younger than what is known, or the discovery began anew
	}
	truth, live := view.live[feed]
	switch {
	case live && truth.Found > reg.Found:
		truth.Mailbox, truth.Resync, truth.Paused = reg.Mailbox, reg.Resync, reg.Paused
		truth.Schedule = reg.Schedule
		return truth, true, nil
	case !live && !reg.Retire:
		reg.Retire, reg.Found, reg.Paused = true, view.settled, false
		return reg, true, nil
	case live:
		r.stand(feed, reg.Found)
	}
	return reg, false, nil
}

// stood reports whether the feed was found standing lately.
func (r *feedRoster) stood(feed Feed, round int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.found[feed]
	return found != nil && found.round == round && time.Since(found.stood) < standingLife
}

func (r *feedRoster) stand(feed Feed, round int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found := r.found[feed]; found != nil {
		found.stood, found.round = time.Now(), round
	}
}
