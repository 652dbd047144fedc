// Package publisher carries commands from NATS to Outlook: it decodes a
// message, puts it over its publisher's defaults, checks policy, makes one
// request, and records what came of it.
//
// It promises that a command ends in exactly one of done, failed and
// uncertain, that a request which must not happen twice is never repeated
// after an answer that leaves its effect open (unless the publisher's delivery
// is [AtLeastOnce]), and that failed and uncertain commands leave a dead
// letter. A crash between any two of its steps neither loses a command nor
// repeats it; the ledger record, written by compare-and-set before the request
// and after it, is what makes that so.
//
// It leaves to others how a request travels ([Outlook]), where records live
// ([Journal]), where outcomes go ([Outcomes]) and who may use a mailbox now
// ([Slots]); it knows neither HTTP nor NATS.
//
// The life of a message, by file: message.go (who is it), decode.go (what does
// it say), plan.go, merge.go and policy.go (what is to be done, and may it),
// handle.go and attempt.go (the state machine), class.go (what an answer means
// for this kind of operation), ledger.go and record.go (what is known),
// finish.go (telling everybody).
package publisher
