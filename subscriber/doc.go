// Package subscriber brings Outlook into NATS: it polls delta feeds, turns each
// item into an event and stores events and cursor together.
//
// It promises that no change is lost, that the cursor never runs ahead of the
// events, that a second worker on the same feed, alive or frozen, can neither
// repeat nor lose a page, and that the same change gets the same event id
// however often its page is read. It leaves to others how Microsoft Graph is
// asked ([Source]), how a page and its cursor become durable in one step
// ([Stream]), which worker polls which feed and when a feed comes back
// ([Queue]), and how many requests a mailbox bears ([Slots]).
//
// # One poll
//
//	read the cursor → slot → read a page → keep or drop each item, transform
//	  ↑                                        → dead letters → commit(events, cursor)
//	  └─────────────── next page ──────────────────────┘      until the delta link
//
// A poll that fails anywhere leaves the stored cursor where it is; the next one
// goes on from there, also in the middle of a round.
//
// # What is not known without an index
//
// Neither Graph nor this package (until it keeps an index of what it told) can
// tell a created item from an updated one: both are [Changed]. A full read
// that has to be repeated (Graph lost its delta token, or $select changed)
// tells only items that arrived or were modified since the last complete round
// began; deletions, and changes of items whose lastModifiedDateTime is not
// selected, are missed in between, and the log says so. Where more than the
// newest 64 items were told since that round began, or where the token is lost
// in the middle of the first full read with start: all, items are told once
// more, under the same event ids. An item that came in the first page of a full
// read and was deleted while that page was stored in several steps and the
// worker crashed between them is not told as deleted; the first page is kept
// small so that it is stored in one step.
package subscriber
