package subscriber

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

// The parts of feeds that find other feeds.
const (
	// partFolders follows the folders of a mailbox.
	partFolders = "folders"
	// partMembers follows the members of a group, or the users that a filter
	// finds. It has no mailbox.
	partMembers = "members"
)

const (
	// foldersEvery and membersEvery are the longest times between two looks:
	// folders are looked at as often as mails where that is more often, members
	// every ten times that.
	foldersEvery = 5 * time.Minute
	membersEvery = 5 * time.Minute
	// ensureEvery is how often a discovery registers all its feeds again: one
	// that a worker with another configuration has dropped comes back.
	ensureEvery = 10 * time.Minute
	// rescheduleEvery is how soon it does so after another schedule: workers with
	// different configurations, during an update, should not do so at every poll.
	rescheduleEvery = time.Minute
	// restWait is how long a member rests that has no mailbox.
	restWait = time.Hour
	// maxFoundPages is how many pages a round of discovery may have.
	maxFoundPages = 5000
	// foundPage is how many folders a page should have.
	foundPage = 200
	// slotPatience is for how long one poll waits for slots.
	slotPatience = 10 * time.Second
	// registering is how many feeds are registered at a time.
	registering = 16
)

const (
	resultResting = "resting" // a member without a mailbox
	resultRetired = "retired" // the feed is at its end
)

// A discovery finds feeds: it keeps in its cursor what is there, folders or
// members, and makes one feed for each of those that the configuration means.
//
// A change goes in three steps: the cursor with what is to be done, fenced; the
// registering and retiring; the cursor without it. A crash in between repeats,
// and every step may be repeated. A worker that was frozen in the second step
// may wake up and write into the queue what has been decided otherwise since:
// so a message in the queue is only a hint, and each feed is held against the
// cursor of its discovery, see [Subscriber.standing].
type discovery struct {
	*Subscriber
	sub  *Subscription
	feed Feed
	reg  registration
	// mailbox is as it goes into requests.
	mailbox string

	cur *discoveryCursor
	seq uint64
	// dirty says that cur differs from what is stored in more than the link.
	dirty bool
	// waited is for how long this poll has waited for slots, wait the newest wait
	// that was asked for.
	waited, wait time.Duration
}

// discover polls a feed of the part folders or members once.
func (s *Subscriber) discover(ctx context.Context, sub *Subscription, feed Feed, reg registration, st *state) (outcome, error) {
	value, seq, err := s.stream.Cursor(ctx, feed)
	if err != nil {
		return outcome{}, fmt.Errorf("read cursor: %w", err)
	}
	d := &discovery{
		Subscriber: s, sub: sub, feed: feed, reg: reg, mailbox: cmp.Or(reg.Mailbox, st.mailbox),
		cur: newDiscovery(), seq: seq,
	}
	if value != nil {
		if d.cur, err = decodeDiscovery(value); err != nil {
			return outcome{}, err
		}
	}
	// What an earlier poll decided comes first.
	if err := d.carryOut(ctx); err != nil {
		return outcome{}, err
	}
	if reg.Retire {
		return d.retire(ctx)
	}
	if d.cur.Ended {
		d.cur = d.cur.again()
	}
	var out outcome
	if feed.Part == partMembers {
		out, err = d.members(ctx)
	} else {
		out, err = d.folders(ctx)
	}
	if err == nil && out.phase == "" {
		if out.phase = changes; d.cur.Full {
			out.phase = snapshot
		}
	}
	return out, err
}

// rest is the outcome of a poll of a member's mailbox that is not there: users
// without a licence, or whose mailbox is still being made, are members as well.
// They are asked again now and then, and are no failure of anybody.
// https://learn.microsoft.com/graph/resolve-auth-errors
func rest(reg registration, err error) (outcome, bool) {
	if err == nil || reg.Mailbox == "" || fault.KindOf(err) != fault.Poison {
		return outcome{}, false
	}
	switch fault.Of(err).Code {
	case "MailboxNotEnabledForRESTAPI", "MailboxNotSupportedForRESTAPI", "ErrorNonExistentMailbox", "ErrorInvalidUser",
		"ResourceNotFound", "Request_ResourceNotFound":
		return outcome{result: resultResting, after: jitter(restWait, 0.2)}, true
	}
	return outcome{}, false
}

// retire ends the discovery: all its feeds are retired, then itself.
func (d *discovery) retire(ctx context.Context) (outcome, error) {
	if !d.cur.Ended {
		d.cur.end()
		if err := d.store(ctx); err != nil {
			return outcome{}, err
		}
		if err := d.carryOut(ctx); err != nil {
			return outcome{}, err
		}
	}
	return outcome{result: resultRetired}, nil
}

// close ends a round: rule identifies what wanted goes by.
func (d *discovery) close(ctx context.Context, rule string, wanted func(*foundPlace) bool) error {
	if d.dirty || d.cur.Full || d.cur.Rule != rule {
		d.cur.Rule, d.dirty = rule, true
		d.cur.settle(d.since(), wanted)
	}
	d.cur.finish()
	if len(d.cur.Join)+len(d.cur.Leave) == 0 && d.mustEnsure() {
		if err := d.each(ctx, d.cur.live(), d.ensure); err != nil {
			return err
		}
		if err := d.forgetLeft(ctx); err != nil {
			return err
		}
		d.cur.Ensured, d.cur.Schedule, d.dirty = time.Now().UTC(), d.sub.schedule, true
	}
	if !d.dirty && time.Since(d.cur.At) < saveEvery {
		return nil // the stored link is as good
	}
	if err := d.store(ctx); err != nil {
		return err
	}
	return d.carryOut(ctx)
}

// forgetLeft forgets the feeds that left and of which nothing is kept any more. A
// feed whose mailbox cannot be read now takes its time to retire.
func (d *discovery) forgetLeft(ctx context.Context) error {
	kept := make([]foundLeft, 0, len(d.cur.Left))
	for _, left := range d.cur.Left {
		ended := false
		if time.Since(left.At) > retiredLife {
			feed, _ := d.sub.foundFeed(d.feed, d.mailbox, &foundPlace{ID: left.ID})
			value, _, err := d.stream.Cursor(ctx, feed)
			if err != nil {
				return fmt.Errorf("read cursor of %s: %w", feed, err)
			}
			cur, bad := decodeCursor(value)
			ended = value == nil || bad != nil || cur.Phase == retired && cur.Index.IsZero()
		}
		if !ended {
			kept = append(kept, left)
		}
	}
	d.cur.Left = kept
	return nil
}

// mustEnsure reports whether all feeds are to be registered anew: it is time, or
// the discovery's own message is younger than the last time, so that the queue
// has lost messages, or they rest by another schedule.
func (d *discovery) mustEnsure() bool {
	since := time.Since(d.cur.Ensured)
	lost := d.reg.Mailbox == "" && d.reg.Registered.After(d.cur.Ensured)
	return since >= ensureEvery || lost || d.cur.Schedule != d.sub.schedule && since >= rescheduleEvery
}

// since is from when on what comes to a place that joins now is new: the first
// ones have joined with the subscription itself, and not when they were first
// seen, which may be much later (nobody had signed in yet); those of later rounds
// after the round before.
func (d *discovery) since() time.Time {
	switch {
	case d.cur.Settled == 0 && !d.reg.Registered.IsZero():
		return d.reg.Registered
	case d.cur.Settled > 0 && !d.cur.Done.IsZero():
		return d.cur.Done
	default:
		return time.Now()
	}
}

// carryOut registers and retires what the cursor says, and takes it out of it.
func (d *discovery) carryOut(ctx context.Context) error {
	if len(d.cur.Join)+len(d.cur.Leave) == 0 {
		return nil
	}
	leaving := make([]*foundPlace, 0, len(d.cur.Leave))
	for _, leaver := range d.cur.Leave {
		leaving = append(leaving, &foundPlace{ID: leaver.ID, Name: leaver.Name})
	}
	joining := make([]*foundPlace, 0, len(d.cur.Join))
	for _, id := range d.cur.Join {
		if place := d.cur.places[id]; place != nil && place.Feed != nil {
			joining = append(joining, place)
		}
	}
	if err := d.each(ctx, leaving, d.leave); err != nil {
		return err
	}
	if err := d.each(ctx, joining, d.join); err != nil {
		return err
	}
	d.log.InfoContext(ctx, "feeds found", "feed", d.feed.String(), "joined", len(joining), "left", len(leaving))
	d.cur.Join, d.cur.Leave = nil, nil
	if d.cur.Ensured.IsZero() {
		d.cur.Ensured, d.cur.Schedule = time.Now().UTC(), d.sub.schedule
	}
	return d.store(ctx)
}

// each calls f for every place, several at a time.
func (d *discovery) each(ctx context.Context, places []*foundPlace, f func(context.Context, *foundPlace) error) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(registering)
	for _, place := range places {
		group.Go(func() error { return f(inner, place) })
	}
	return group.Wait()
}

// join registers the feed of a place, in place of what is there, which may be
// the order to retire an earlier life of it.
func (d *discovery) join(ctx context.Context, place *foundPlace) error {
	return d.put(ctx, place, false)
}

// leave orders the feed of a place to retire.
func (d *discovery) leave(ctx context.Context, place *foundPlace) error {
	return d.put(ctx, place, true)
}

func (d *discovery) put(ctx context.Context, place *foundPlace, retire bool) error {
	feed, reg := d.sub.foundFeed(d.feed, d.mailbox, place)
	if retire {
		// Settled is the round that decided so: this is after finish.
		reg.Retire, reg.Found, reg.Registered = true, d.cur.Settled, time.Now().UTC()
	}
	return d.register(ctx, feed, reg, reg.over)
}

// ensure registers the feed of a place unless it is there, and wakes it where it
// rests by another schedule.
func (d *discovery) ensure(ctx context.Context, place *foundPlace) error {
	feed, reg := d.sub.foundFeed(d.feed, d.mailbox, place)
	if d.cur.Schedule == d.sub.schedule {
		return d.register(ctx, feed, reg, nil)
	}
	return d.register(ctx, feed, reg, func(data []byte) ([]byte, error) { return rescheduled(data, d.sub.schedule) })
}

// register makes a feed known, or changes one that is.
func (d *discovery) register(ctx context.Context, feed Feed, reg registration, change func([]byte) ([]byte, error)) error {
	data, err := reg.encode()
	if err != nil {
		return err
	}
	known, err := d.queue.Register(ctx, feed, data)
	if err == nil && known && change != nil {
		err = d.queue.Update(ctx, feed, change)
	}
	if err != nil {
		return fmt.Errorf("register feed %s: %w", feed, err)
	}
	return nil
}

// foundFeed names the feed of a place that a discovery found, and what its
// message says. mailbox is the discovery's own as it goes into requests.
func (s *Subscription) foundFeed(finder Feed, mailbox string, place *foundPlace) (Feed, registration) {
	reg := registration{Schedule: s.schedule}
	if place.Feed != nil {
		reg.New, reg.Found, reg.Registered = place.Feed.New, place.Feed.Round, place.Feed.Since
	}
	if finder.Part == partMembers {
		reg.Mailbox = place.ID
		return Feed{Subscription: s.Name, Mailbox: place.Name, Part: s.memberPart()}, reg
	}
	reg.Container, reg.Mailbox = place.ID, mailbox
	if kind := folderKindOf(s.Operation); kind != nil {
		reg.Path = map[string]string{kind.param: place.ID}
	}
	return Feed{Subscription: s.Name, Mailbox: finder.Mailbox, Part: Part(place.ID)}, reg
}

// memberPart is the part of the feed that a mailbox begins with.
func (s *Subscription) memberPart() string {
	if len(s.Folders) > 0 {
		return partFolders
	}
	return Part(container(s.Path))
}

// finder is the feed of the discovery that makes a feed true or not; ok=false
// where the configuration does.
func (s *Subscription) finder(feed Feed, reg registration) (finder Feed, ok bool) {
	switch {
	case reg.Container != "":
		return Feed{Subscription: feed.Subscription, Mailbox: feed.Mailbox, Part: partFolders}, true
	case s.followed() && feed.Part != partMembers:
		return Feed{Subscription: feed.Subscription, Mailbox: "-", Part: partMembers}, true
	default:
		return Feed{}, false
	}
}

// followed reports whether the mailboxes are those of members.
func (s *Subscription) followed() bool { return s.Members != Members{} }

// store makes the cursor durable.
func (d *discovery) store(ctx context.Context) error {
	hint := "the mailbox has more folders than this subscription can follow: name the folders with path in place of folders"
	if d.feed.Part == partMembers {
		hint = "split the members over several subscriptions, by filters or groups"
	}
	value, err := d.cur.encode(time.Now(), hint)
	if err != nil {
		return err
	}
	seq, err := d.stream.Commit(ctx, Commit{Feed: d.feed, Cursor: value, After: d.seq})
	if err != nil {
		return fmt.Errorf("commit discovery: %w", err)
	}
	d.seq, d.dirty = seq, false
	return nil
}

// page reads one page within a slot. busy says that there was none.
func (d *discovery) page(ctx context.Context, req Request, emit func([]byte) error) (page Page, busy bool, err error) {
	busy, err = d.within(ctx, &req, func() (err error) {
		page, err = d.source.Read(ctx, req, emit)
		return err
	})
	return page, busy, err
}

// within makes a request within a slot. busy says that there was none.
func (d *discovery) within(ctx context.Context, req *Request, do func() error) (busy bool, err error) {
	release, err := d.slot(ctx, req.Mailbox)
	if err != nil || release == nil {
		return release == nil, err
	}
	defer release()
	req.Headers = maps.Clone(req.Headers)
	if req.Headers == nil {
		req.Headers = make(map[string]string, 1)
	}
	if d.sub.ImmutableIDs && d.feed.Part == partFolders {
		// So that a folder's id is the one that its items name.
		prefer(req.Headers, "IdType", `"ImmutableId"`)
	}
	if err := do(); err != nil {
		return false, fmt.Errorf("read %s: %w", req.Operation.ID, err)
	}
	return false, nil
}

// slot takes a slot. A poll may wait for its slots for a while, because most of
// what it needs is one page; nil: it has waited long enough.
func (d *discovery) slot(ctx context.Context, mailbox string) (release func(), err error) {
	for {
		release, wait, ok := d.slots.Take(ctx, d.sub.Client, mailbox)
		if ok {
			return release, nil
		}
		wait = max(wait, leastWait)
		if d.waited += wait; d.waited > slotPatience {
			d.wait = wait
			return nil, nil //nolint:nilnil // the answer is that there is none
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// busy ends a poll for which there was no slot.
func (d *discovery) busy() outcome { return outcome{result: resultBusy, after: d.wait} }

// rule identifies what decides which places have feeds.
func rule(parts ...string) string { return digest(slices.Concat([]string{"rule"}, parts)...)[:16] }

// standing is the registration that a found feed should have, of which a
// delivery says reg, from data. What is in the queue follows: a feed that no
// discovery wants any more is told to retire, one that is wanted again is not.
// Data that somebody else has changed meanwhile stay: they are judged when they
// are delivered, which is at once.
func (s *Subscriber) standing(ctx context.Context, feed Feed, reg registration, data []byte) (registration, error) {
	right, changed, err := s.roster.standing(ctx, feed, reg)
	if err != nil || !changed {
		return reg, err
	}
	s.log.InfoContext(ctx, "registration of feed was out of date", "feed", feed.String(), "retire", right.Retire)
	err = s.queue.Update(ctx, feed, func(now []byte) ([]byte, error) {
		if !bytes.Equal(now, data) {
			return now, nil
		}
		return right.encode()
	})
	if err != nil {
		return reg, fmt.Errorf("correct registration of feed %s: %w", feed, err)
	}
	return right, nil
}
