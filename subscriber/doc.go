// Package subscriber brings Outlook into NATS: it polls feeds, turns what has
// changed into events and stores events, cursor and index together.
//
// It promises that no change is lost and none told twice, that the cursor never
// runs ahead of the events, that a second worker on the same feed, alive or
// frozen, can neither repeat nor lose a page, and that the same change gets the
// same event id however often its page is read. It leaves to others how
// Microsoft Graph is asked ([Source], [Items]), how events, cursor and index
// become durable in one step ([Stream]), which worker polls which feed and when
// a feed comes back ([Queue]), and how many requests a mailbox bears ([Slots]).
//
// # One poll
//
//	read the cursor → slot → read a page → compare each item with the index
//	  ↑        → look at deletions → complete items → transform → dead letters
//	  │        → commit(events, new pieces of the index, cursor)
//	  └─────────────── next page ──────────────┘      until the delta link
//
// A poll that fails anywhere leaves the stored cursor where it is; the next one
// goes on from there, also in the middle of a round. A page that is too large
// for one commit goes in several: the index of the cursors in between knows what
// is in the stream already.
//
// # The index
//
// The index (package internal/index) says which version of which item a feed
// knows. So created is told from updated, a replay from a change, and what a
// full read does not show from what never was. Its newest entries and the list
// of its pieces stand in the cursor, whose fence is the index's, too. Pieces are
// immutable: new ones go with the commit that names them or before it, those
// that no cursor names any more go after it.
//
// # Full reads
//
// A first full read is quiet (start: now), or tells a snapshot. Each later one,
// after a lost delta token, a changed request, a new window of a calendar or an
// operator's wish, compares what it sees with what was known before: only what
// differs is told. At its end comes the sweep: what was known and was not seen is
// looked at and told as deleted, in commits of a bounded size, each of which the
// next worker can go on from.
//
// # Deletions and moves
//
// Graph says of an item that left a folder that it is removed, wherever it went
// (https://learn.microsoft.com/graph/delta-query-overview). So each deletion is
// looked at, as far as the mailbox's limits allow: what is gone is told as
// deleted, what is elsewhere as deleted with the reason moved, what nobody could
// look at as not verified. Between two folders of one subscription it is an
// update, told by the new folder's feed; see moves.go for how two feeds that each
// see half of a move agree about it.
//
// # Modes
//
// Delta functions are read in rounds. A list is read as a whole at each poll and
// compared with the index; a single object, or an answer without items, is
// compared by its etag or its bytes.
//
// # What cannot be known
//
//   - Of the quiet first read, items without receivedDateTime that changed since
//     the registration are told as [Changed].
//   - Items that Graph sends without a version are compared by their bytes: what
//     comes in part once and whole another time counts as changed.
//   - A cursor of the time before the index is taken up with a quiet full read:
//     deletions and changes of older items between its last round and that read
//     are not told.
//   - Where deletions cannot be looked at (todo tasks, events, no [Items]), an item
//     that moved out of a folder and into another that is read later is told as
//     deleted there and created here.
package subscriber
