package subscriber

import (
	"context"

	"outlook-connector/internal/index"
)

// Commit is what becomes durable in one step, or not at all.
type Commit struct {
	Feed   Feed
	Events []Event
	// Segments are the new pieces of the feed's index.
	Segments []index.Segment
	// Cursor is the feed's new cursor, stored only if the stored one still has
	// the sequence After (0: there is none yet).
	Cursor []byte
	After  uint64
	// Moves fences the news of items that move between the folders of one
	// subscription. Nil where the subscription has one folder.
	Moves *Moves
}

// Moves is the state of a mailbox's marker of moves, see [Indexes.Moved].
type Moves struct {
	// After is the marker's sequence before the page was read; a commit is
	// refused with [ErrFenced] where the marker has another one.
	After uint64
	// Mark writes the marker anew with this commit.
	Mark bool
}

// Indexes keeps the pieces of the feeds' indexes. It is a part of [Stream],
// because a piece, the cursor that names it and the marker of moves are stored
// and counted together.
type Indexes interface {
	// Segment returns a piece. Pieces are immutable. One that is not there is an
	// error with the code "index_missing".
	Segment(ctx context.Context, feed Feed, id string) ([]byte, error)
	// PutSegments stores pieces to which no cursor refers yet.
	PutSegments(ctx context.Context, feed Feed, segments []index.Segment) error
	// DropSegments deletes pieces to which no cursor refers any more. Those that
	// are not there are no error.
	DropSegments(ctx context.Context, feed Feed, ids []string) error
	// Orphans returns the feed's pieces that are older than the cursor's sequence
	// at and not among those that it names. See [walk.tidy] for why nobody can
	// come to refer to them any more.
	Orphans(ctx context.Context, feed Feed, named []string, at uint64) ([]string, error)
	// Moved returns the sequence of the marker of moves of a mailbox, 0 where
	// nothing has moved yet.
	Moved(ctx context.Context, subscription, mailbox string) (uint64, error)
}
