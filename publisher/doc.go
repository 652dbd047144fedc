// Package publisher carries commands from NATS to Outlook: it decodes a
// message, puts it over its publisher's defaults, checks policy, makes the
// requests that its operation needs, and records what came of it.
//
// It promises that a command ends in exactly one of done, failed and uncertain,
// that with [ExactlyOnce] nothing is repeated before its effect was looked for,
// and with [AtMostOnce] nothing that must not happen twice is repeated at all,
// and that failed and uncertain commands leave a dead letter. A crash between any
// two of its steps neither loses a command nor repeats it; the ledger record,
// written by compare-and-set before each request and after the last, is what
// makes that so. ([AtLeastOnce] repeats after a crash, and so its first request is
// not written down before it is made.)
//
// It leaves to others how a request travels ([Outlook], [Uploads]), where records
// live ([Journal]), where outcomes go ([Outcomes]) and who may use a mailbox now
// ([Slots]); it knows neither HTTP nor NATS.
//
// The life of a message, by file: message.go (who is it), decode.go and body.go
// (what does it say), plan.go, merge.go, policy.go and limits.go (what is to be
// done, and may it), recipe.go (by which steps), handle.go and attempt.go (the
// state machine), requests.go (how many at a time), class.go (what an answer means), look.go and seek.go (finding
// out what became of a request), inherit.go (of a command that is sent again),
// upload.go (large files), ledger.go and record.go
// (what is known), finish.go (telling everybody).
package publisher
