//go:build unix

package proof_test

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// scope says which items a subscription is about: of one type, in some places.
type scope struct {
	subscription string
	what         string // the type of its items
	// inside says whether what lies in a place of a mailbox belongs to it; for
	// good, where there are no names.
	inside func(mailbox, in string) bool
	// named says whether a folder with this path of display names belongs to it,
	// besides those that are inside. Folders come, go and change their names and
	// places, and what lies in them comes and goes with them. Nil: none.
	named func(path []string) bool
	// blind says that events of the subscription do not say where an item lies.
	blind bool
	// shown is what there is in the end, by mailbox, with the version of each (0:
	// any), where the ledger does not tell: dates of a series are no items. Of such
	// a scope only the end and the order are looked at.
	shown map[string]map[string]int64
	// root is the place of a mailbox's top-level folders.
	root func(mailbox string) string

	count  int                  // of the ledger, when points was made
	points map[string][]joining // by folder
}

// joining says that a folder belongs to a scope, or does not, from a write on.
type joining struct {
	seq int64
	at  time.Time
	in  bool
}

// prepare follows the folders through the ledger, whose lock is held.
func (s *scope) prepare(l *ledger) {
	if s.named == nil || s.count == l.total && s.points != nil {
		return
	}
	s.count, s.points = l.total, map[string][]joining{}
	for mailbox, writes := range l.folders {
		slices.SortFunc(writes, func(a, b folderWrite) int { return cmp.Compare(a.seq, b.seq) })
		root, tree := s.root(mailbox), map[string]folderWrite{}
		for _, w := range writes {
			if tree[w.id] = w; w.gone {
				delete(tree, w.id)
				s.join(w, w.id, false)
			}
			for id := range tree {
				s.join(w, id, s.fits(tree, root, id))
			}
		}
	}
}

func (s *scope) join(w folderWrite, id string, in bool) {
	list := s.points[id]
	if len(list) == 0 && !in || len(list) > 0 && list[len(list)-1].in == in {
		return
	}
	s.points[id] = append(list, joining{w.seq, w.at, in})
}

// fits says whether a folder's path is meant.
func (s *scope) fits(tree map[string]folderWrite, root, id string) bool {
	var path []string
	for at := id; at != root; {
		f, ok := tree[at]
		if !ok {
			return false // below a well-known folder
		}
		path, at = slices.Insert(path, 0, f.name), f.parent
	}
	return s.named(path)
}

// has says whether an item belongs to the scope now.
func (s *scope) has(item *thing) bool {
	is := item.last()
	if is.gone {
		return false
	}
	if points := s.points[is.in]; len(points) > 0 {
		return points[len(points)-1].in
	}
	return s.inside(item.mailbox, is.in)
}

// stay is a part of an item's life: in one version, in one place that belongs to
// the scope or does not.
type stay struct {
	version int64 // of the item; 0: it is gone
	place   string
	from    int64 // the write with which it began
	at      time.Time
	in      bool
}

// ever says whether a folder belonged to the scope at any time before a moment:
// that a folder has left is found some time after.
func (s *scope) ever(mailbox, in string, by time.Time) bool {
	return s.inside(mailbox, in) || slices.ContainsFunc(s.points[in], func(p joining) bool { return p.in && p.at.Before(by) })
}

// stays are an item's life as a scope sees it.
func (s *scope) stays(item *thing) (list []stay) {
	if s.inside == nil {
		return nil
	}
	for i, w := range item.writes {
		end := int64(math.MaxInt64)
		if i+1 < len(item.writes) {
			end = item.writes[i+1].seq
		}
		if w.gone {
			list = append(list, stay{place: w.in, from: w.seq, at: w.at})
			continue
		}
		now := stay{version: w.seq, place: w.in, from: w.seq, at: w.at, in: s.inside(item.mailbox, w.in)}
		points := s.points[w.in]
		for len(points) > 0 && points[0].seq < w.seq {
			now.in, points = points[0].in, points[1:]
		}
		list = append(list, now)
		for _, p := range points {
			if p.seq < end && p.in != now.in {
				now.from, now.at, now.in = p.seq, p.at, p.in
				list = append(list, now)
			}
		}
	}
	return list
}

// left says whether an item was outside of the scope at any time from one version
// on and until another was told (0: until now), and before a moment. A folder may
// leave and come back while an item in it has one version.
func left(stays []stay, from, before int64, by time.Time) bool {
	return slices.ContainsFunc(stays, func(s stay) bool {
		return s.from >= from && (before <= from || s.from <= before || s.version == before) && s.at.Before(by) && !s.in
	})
}

// inbox, archive and the projects but for those that are off.
func meant(path []string) bool {
	return len(path) > 0 && strings.EqualFold(path[0], projects) && (len(path) == 1 || !strings.HasPrefix(path[1], off))
}

// projects is the folder below which people make most of theirs; off begins the
// names of those that are not read.
const (
	projects = "Projects"
	off      = "Off"
)
