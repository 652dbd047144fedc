//go:build unix

package proof_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// verdict are the figures of a comparison.
type verdict struct {
	items, events                        int
	lost, ghosts, stale, twice, disorder int
	deletions, doubted                   int
	mistaken                             int // deletions of what was there, that nobody had looked for
	early                                int // deletions of what had gone to a folder of which nobody had heard yet
}

// judge compares what was told with what was. Its problems are everything that
// must not be; none means that nothing was lost, nothing is there twice and all
// came in its order.
func (v *view) judge(l *ledger, scopes []*scope) (f verdict, problems []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	f.events, f.twice, v.where = v.events, v.events-len(v.ids), map[string]int{}
	problems = slices.Clone(v.problems)
	byName := map[string]*scope{}
	for _, s := range scopes {
		s.prepare(l)
		byName[s.subscription] = s
	}
	keys := slices.SortedFunc(maps.Keys(v.tracks), func(a, b trackKey) int {
		return cmp.Or(cmp.Compare(a.subscription, b.subscription), cmp.Compare(a.item, b.item))
	})
	for _, key := range keys {
		t, s := v.tracks[key], byName[key.subscription]
		item := l.items[key.item]
		switch {
		case s == nil:
			problems = append(problems, fmt.Sprintf("events of the subscription %q, which is not known", key.subscription))
		case s.shown != nil:
			for _, p := range t.sequence(key.item) {
				f.disorder++
				problems = append(problems, p+v.history(key, item, s))
			}
		case item == nil:
			f.ghosts++
			problems = append(problems, fmt.Sprintf("%s tells of %s, which never was", key.subscription, shortID(key.item)))
		case item.mailbox != t.mailbox || item.what != s.what:
			problems = append(problems, fmt.Sprintf("%s tells of %s in %s, which is a %s of %s", key.subscription, shortID(key.item), t.mailbox, item.what, item.mailbox))
		default:
			for _, p := range t.orderly(item, s, v, &f) {
				f.disorder++
				problems = append(problems, p+v.history(key, item, s))
			}
		}
	}
	for _, s := range scopes {
		problems = append(problems, v.compare(l, s, &f)...)
	}
	return f, problems
}

// compare is the end: what the view has, and what there is.
func (v *view) compare(l *ledger, s *scope, f *verdict) (problems []string) {
	if s.shown != nil {
		return v.compareShown(l, s, f)
	}
	for _, id := range slices.Sorted(maps.Keys(l.items)) {
		item := l.items[id]
		if item.what != s.what {
			continue
		}
		key := trackKey{s.subscription, id}
		is := item.last()
		there := s.has(item)
		if there {
			f.items++
		}
		t := v.tracks[key]
		var has news
		var shown bool
		if t != nil {
			has, shown = t.newest()
		}
		var said string
		switch {
		case there && !shown:
			f.lost++
			said = "is lost: it is there, but the events do not say so"
		case !there && shown:
			f.ghosts++
			said = "is not there any more, but the events do not say so"
		case there && has.version != is.seq:
			f.stale++
			said = fmt.Sprintf("is lost in its newest version %d: the events have %d", is.seq, has.version)
		case there && has.folder != is.in && !s.blind:
			f.stale++
			said = fmt.Sprintf("lies in %s, but by the events in %s", shortID(is.in), shortID(has.folder))
		default:
			continue
		}
		v.where[s.subscription+" "+item.mailbox]++
		problems = append(problems, fmt.Sprintf("%s of %s, %s %s", s.subscription, item.mailbox, shortID(id), said)+v.history(key, item, s))
	}
	return problems
}

// compareShown is compare where the end is all that is known.
func (v *view) compareShown(l *ledger, s *scope, f *verdict) (problems []string) {
	for _, mailbox := range slices.Sorted(maps.Keys(s.shown)) {
		for _, id := range slices.Sorted(maps.Keys(s.shown[mailbox])) {
			key, want := trackKey{s.subscription, id}, s.shown[mailbox][id]
			if want == maybe {
				continue
			}
			f.items++
			var has news
			var there bool
			if t := v.tracks[key]; t != nil {
				has, there = t.newest()
			}
			switch {
			case !there:
				f.lost++
				problems = append(problems, fmt.Sprintf("%s of %s, %s is lost: it is there, but the events do not say so", s.subscription, mailbox, shortID(id))+v.history(key, l.items[key.item], s))
			case want != 0 && has.version != want:
				f.stale++
				problems = append(problems, fmt.Sprintf("%s of %s, %s is lost in its newest version %d: the events have %d", s.subscription, mailbox, shortID(id), want, has.version)+v.history(key, l.items[key.item], s))
			}
		}
	}
	for key, t := range v.tracks {
		if key.subscription != s.subscription {
			continue
		}
		_, told := t.newest()
		if _, there := s.shown[t.mailbox][key.item]; told && !there {
			f.ghosts++
			problems = append(problems, fmt.Sprintf("%s of %s, %s is not there any more, but the events do not say so", s.subscription, t.mailbox, shortID(key.item))+v.history(key, l.items[key.item], s))
		}
	}
	return problems
}

// sequence checks the order of what was told of something that the ledger does
// not know.
func (t *track) sequence(id string) (problems []string) {
	there, newest := false, int64(0)
	for _, n := range t.news {
		was := there
		there = n.kind != "deleted"
		known := n.kind == "deleted" || n.kind == "updated"
		switch {
		case n.kind == "changed" && !tellsKinds:
		case was != known:
			problems = append(problems, fmt.Sprintf("event %d (%s) of %s: by the events before, it was there: %v", n.stream, n.kind, shortID(id), was))
		}
		if there && (n.version < newest || n.version == newest && was) {
			problems = append(problems, fmt.Sprintf("event %d (%s) of %s: it has version %d, and %d was told before", n.stream, n.kind, shortID(id), n.version, newest))
		}
		newest = max(newest, n.version)
	}
	return problems
}

// orderly checks what was told of an item, event by event.
func (t *track) orderly(item *thing, s *scope, v *view, f *verdict) (problems []string) {
	stays := s.stays(item)
	say := func(n news, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("event %d (%s) of %s: ", n.stream, n.kind, shortID(item.id))+fmt.Sprintf(format, args...))
	}
	there, newest := false, int64(0)
	for i, n := range t.news {
		if n.kind == "deleted" {
			f.deletions++
			if n.doubted {
				f.doubted++
			}
			var next int64
			if i+1 < len(t.news) {
				next = t.news[i+1].version
			}
			switch {
			case !there:
				say(n, "the item was not there by the events before")
			case left(stays, newest, next, n.at):
			case n.doubted && mayDoubt:
				f.mistaken++
			case n.moved && v.unheard(stays, s, n):
				f.early++
			default:
				say(n, "the item never left between its versions %d and %d (0: now)", newest, next)
			}
			if n.doubted && !mayDoubt {
				say(n, "nobody looked whether the item is gone")
			}
			there = false
			continue
		}
		switch {
		case n.kind == "changed" && !tellsKinds:
		case n.kind == "updated" && there, n.kind == "created" && !there, n.kind == "snapshot" && !there:
		default:
			say(n, "by the events before, the item was there: %v", there)
		}
		var made bool
		var place string
		for _, stay := range stays {
			if stay.version == n.version && n.version != 0 {
				made, place = true, stay.place
			}
		}
		switch {
		case !made:
			say(n, "it has the version %d, which never was", n.version)
		case !s.ever(item.mailbox, place, n.at):
			say(n, "in its version %d the item was not in the subscription's folders", n.version)
		case place != n.folder && !s.blind:
			say(n, "in its version %d the item lay in %s, not in %s", n.version, shortID(place), shortID(n.folder))
		case n.version < newest, n.version == newest && (there || !left(stays, newest, 0, n.at)):
			say(n, "it has version %d, and %d was told before", n.version, newest)
		}
		there, newest = true, max(newest, n.version)
	}
	return problems
}

// joinLag is how long after a folder has come to belong to a subscription the
// connector may not have heard of that, in the worst of times.
const joinLag = time.Minute

// unheard reports whether an item that was told to have left was then in a folder
// that had come to belong to the subscription a moment before, and of which
// nothing had been told: a folder joins when the connector hears of it.
func (v *view) unheard(stays []stay, s *scope, n news) bool {
	var is stay
	for _, stay := range stays {
		if stay.at.Before(n.at) {
			is = stay
		}
	}
	var joined time.Time
	for _, p := range s.points[is.place] {
		if p.in && p.at.Before(n.at) {
			joined = p.at
		}
	}
	return !joined.IsZero() && n.at.Sub(joined) < joinLag &&
		!slices.ContainsFunc(v.folders[folderKey{s.subscription, is.place}], func(t telling) bool {
			return t.stream < n.stream && t.at.After(joined)
		})
}

// history is all that is known of an item, in the order of time.
func (v *view) history(key trackKey, item *thing, s *scope) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	if item == nil {
		item = &thing{} // a date of a series
	}
	for _, w := range item.writes {
		text := fmt.Sprintf("written %d in %s", w.seq, shortID(w.in))
		if w.gone {
			text = fmt.Sprintf("gone %d from %s", w.seq, shortID(w.in))
		}
		lines = append(lines, line{w.at, text})
	}
	for _, stay := range s.stays(item) {
		if stay.from != stay.version && stay.version != 0 {
			lines = append(lines, line{stay.at, fmt.Sprintf("folder %s changed in %d and belongs to %s: %v", shortID(stay.place), stay.from, s.subscription, stay.in)})
		}
	}
	for name := range v.names {
		t := v.tracks[trackKey{name, key.item}]
		if t == nil {
			continue
		}
		for _, n := range t.news {
			lines = append(lines, line{n.at, fmt.Sprintf("event %d of %s: %s", n.stream, name, n)})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var text strings.Builder
	const most = 40
	for i, line := range lines {
		if i == most {
			fmt.Fprintf(&text, "\n    and %d more", len(lines)-most)
			break
		}
		fmt.Fprintf(&text, "\n    %s %s", line.at.Format(clock), line.text)
	}
	return text.String()
}

// agree says whether the view is the truth already, without a word on what
// differs: it is asked again and again.
func (v *view) agree(l *ledger, scopes []*scope) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range scopes {
		if s.shown != nil {
			if len(v.compareShown(l, s, &verdict{})) > 0 {
				return false
			}
			continue
		}
		s.prepare(l)
		for id, item := range l.items {
			if item.what != s.what {
				continue
			}
			is, there := item.last(), s.has(item)
			t := v.tracks[trackKey{s.subscription, id}]
			if t == nil {
				if there {
					return false
				}
				continue
			}
			if n, shown := t.newest(); shown != there || there && (n.version != is.seq || n.folder != is.in && !s.blind) {
				return false
			}
		}
	}
	return true
}
