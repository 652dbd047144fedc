package subscriber

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
)

// tidyEvery is how often a worker looks for lost pieces of a feed's index, at
// most. It does so after a merge only, because nothing but an interrupted merge
// loses pieces.
const tidyEvery = 24 * time.Hour

// pieces is the store of a feed's segments, with the worker's cache before it.
// Where a piece of the own feed is missing because another worker went on, the
// error is that of a fenced worker.
func (w *walk) pieces(feed Feed) index.Store {
	return w.cache.With(func(ctx context.Context, id string) ([]byte, error) {
		data, err := w.stream.Segment(ctx, feed, id)
		if err == nil || feed != w.feed || ctx.Err() != nil {
			return data, err
		}
		_, seq, failed := w.stream.Cursor(ctx, feed)
		switch mark := fault.Of(err); {
		case failed == nil && seq != w.seq:
			return nil, fmt.Errorf("%w: %w", ErrFenced, err)
		case failed == nil && mark != nil && mark.Code == codeMissing:
			return nil, fmt.Errorf("%w: %w", errIndexLost, err)
		}
		return nil, err
	})
}

// codeMissing is the code of a [Stream] that does not have a piece.
const codeMissing = "index_missing"

// errIndexLost says that the stored cursor names a piece that is not there:
// somebody has removed it.
var errIndexLost = errors.New("the index is lost")

// lostTries is how often in a row a piece must have been missing before the
// index is given up.
const lostTries = 3

// codeDamaged is the code of a piece whose bytes are not what was stored.
const codeDamaged = "index_damaged"

// errSibling marks what is wrong with the index of another feed, which that feed
// has to mend.
var errSibling = errors.New("index of another folder")

// indexLost reports whether the feed's own index cannot be read.
func indexLost(err error) bool {
	mark := fault.Of(err)
	return errors.Is(err, errIndexLost) || mark != nil && mark.Code == codeDamaged && !errors.Is(err, errSibling)
}

// beginAnew answers an index that is lost or damaged for good: the feed goes on with an
// empty one, which a quiet full read fills, as one of the time before the index.
func (w *walk) beginAnew(ctx context.Context, value []byte, err error) error {
	if !indexLost(err) || w.state.failedBefore() < lostTries-1 {
		return err
	}
	stored, bad := decodeCursor(value)
	if bad != nil {
		return bad
	}
	stored.Index, stored.Old, stored.Away = index.Manifest{}, index.Manifest{}, nil
	stored.upgrade()
	w.log.WarnContext(ctx, "the feed's index is lost, quiet full read begins", "feed", w.feed.String(),
		"new_from", stored.Since, "limit", "deletions and changes of older items since then are not told", "error", err)
	w.cur, w.touched, w.mark = stored, false, false
	if failed := w.store(ctx, nil, nil, w.cur); failed != nil {
		return failed
	}
	return err
}

// goneRounds is for how many rounds a feed that has siblings knows of what it told as
// deleted: one that has not been read for so long, because its mailbox was throttled,
// may have the item still, and would tell its end once more. At a poll a second that
// is five hours.
const goneRounds = 1 << 14

// compact makes a merge of the index if one is due, and one of the older index.
// What they write is stored at once: nobody refers to it until the commit.
func (w *walk) compact(ctx context.Context) (merged bool, err error) {
	if w.moving() {
		w.now.Keep(goneRounds)
		if w.old != nil {
			w.old.Keep(goneRounds)
		}
	}
	if w.old != nil {
		manifest, write, _, err := w.old.Compact(ctx, 0)
		if err != nil {
			return false, fmt.Errorf("merge the older index: %w", err)
		}
		if write != nil {
			merged, w.cur.Old = true, manifest
			if err := w.putPieces(ctx, write); err != nil {
				return false, err
			}
		}
	}
	_, write, _, err := w.now.Compact(ctx, 0)
	if err != nil {
		return false, fmt.Errorf("merge the index: %w", err)
	}
	if write == nil {
		return merged, nil
	}
	return true, w.putPieces(ctx, write)
}

func (w *walk) putPieces(ctx context.Context, segments []index.Segment) error {
	if len(segments) == 0 {
		return nil
	}
	if err := w.stream.PutSegments(ctx, w.feed, segments); err != nil {
		return fmt.Errorf("store %d merged pieces of the index: %w", len(segments), err)
	}
	return nil
}

// name notes which pieces the stored cursor names.
func (w *walk) name() { w.named = w.cur.pieces() }

// pieces returns the pieces that a cursor names.
func (c *cursor) pieces() map[string]struct{} {
	all := make(map[string]struct{})
	for _, manifest := range []index.Manifest{c.Index, c.Old} {
		for _, id := range manifest.Segments() {
			all[id] = struct{}{}
		}
	}
	return all
}

// dropReplaced drops the pieces that only the cursor before named. A cursor is
// made of the one before it and of new pieces, so a piece that a stored cursor
// has left out is never named again, and whoever still has the older cursor is
// fenced. What is not dropped because of a crash or a failure is found by tidy.
func (w *walk) dropReplaced(ctx context.Context, cur *cursor) {
	named := cur.pieces()
	var drop []string
	for id := range w.named {
		if _, still := named[id]; !still {
			drop = append(drop, id)
		}
	}
	w.named = named
	if len(drop) == 0 {
		return
	}
	slices.Sort(drop)
	if err := w.stream.DropSegments(ctx, w.feed, drop); err != nil {
		w.log.DebugContext(ctx, "replaced pieces of the index not dropped", "feed", w.feed.String(), "pieces", len(drop), "error", err)
	}
}

// tidy drops the pieces that a crash left behind: those that are older than the
// stored cursor and that it does not name.
//
// No living piece is ever among them, even if this worker is frozen here and
// another has long gone on. A piece is named by a cursor for the first time
// either in the same batch, and then it is younger than the cursor before, or
// after a merge, and then it was put by a worker that had read the cursor on
// which its commit is fenced, and so is younger than that one, too. A piece
// that is older than a cursor C and not named by it could therefore only come
// into a commit that is fenced on a cursor before C, which is refused. And
// later cursors take over from C only what C names.
func (w *walk) tidy(ctx context.Context) {
	if time.Since(w.state.tidied) < tidyEvery {
		return
	}
	keep := make([]string, 0, len(w.named))
	for id := range w.named {
		keep = append(keep, id)
	}
	slices.Sort(keep)
	orphans, err := w.stream.Orphans(ctx, w.feed, keep, w.seq)
	if err == nil && len(orphans) > 0 {
		err = w.stream.DropSegments(ctx, w.feed, orphans)
	}
	if err != nil {
		w.log.DebugContext(ctx, "lost pieces of the index not looked for", "feed", w.feed.String(), "error", err)
		return
	}
	w.state.tidied = time.Now()
}
