package sandbox

// Options of the limits and of how much is kept.

import "time"

// limitOptions are part of the options.
type limitOptions struct {
	requests    limitRate
	upload      limitRate
	app         limitRate
	directory   int64 // units; 0: by the number of people, -1: no limit
	messages    limitRate
	keep        int
	journalOver int64
}

func defaultLimitOptions() limitOptions {
	return limitOptions{
		requests:    limitRate{10_000, 10 * time.Minute},
		upload:      limitRate{150 << 20, 5 * time.Minute},
		app:         limitRate{130_000, 10 * time.Second},
		journalOver: 8 << 20,
	}
}

func (o options) limitRules() limitRules {
	units := o.limits.directory
	if units == 0 {
		units = directoryUnits(o.mailboxes)
	}
	return limitRules{
		concurrency: o.concurrency, retryAfter: o.retryAfter,
		requests: o.limits.requests, upload: o.limits.upload, app: o.limits.app, messages: o.limits.messages,
		directory: limitRate{units, directorySpan},
	}
}

// RequestWindow sets how many requests one application may send to one mailbox
// in a time. Default 10,000 in 10 minutes, Outlook's own limit; 0 requests take
// it away (https://learn.microsoft.com/graph/throttling-limits).
func RequestWindow(n int, per time.Duration) Option {
	return func(o *options) { o.limits.requests = limitRate{int64(n), per} }
}

// UploadWindow sets how many bytes of POST, PATCH and PUT bodies one application
// may send to one mailbox in a time. Default 150 MiB in 5 minutes, Outlook's own
// limit; 0 bytes take it away
// (https://learn.microsoft.com/graph/throttling-limits).
func UploadWindow(bytes int64, per time.Duration) Option {
	return func(o *options) { o.limits.upload = limitRate{bytes, per} }
}

// AppWindow sets how many requests one application may send to all mailboxes
// together in a time. Default 130,000 in 10 s, the limit of all of Graph; 0
// requests take it away (https://learn.microsoft.com/graph/throttling-limits).
func AppWindow(n int, per time.Duration) Option {
	return func(o *options) { o.limits.app = limitRate{int64(n), per} }
}

// DirectoryUnits sets how many resource units one application may spend on users
// and groups in ten seconds; -1 takes the limit away. Default 3,500, 5,000 or
// 8,000 by the number of people, the directory's own limits
// (https://learn.microsoft.com/graph/throttling-limits).
func DirectoryUnits(n int) Option { return func(o *options) { o.limits.directory = int64(n) } }

// MessagesPerMinute sets how many mails a mailbox may send in a minute, whoever
// submits them. More are refused with 429 ErrorExceededMessageLimit; Exchange,
// whose limit is 30, may also delay them. Default 0: no limit.
func MessagesPerMinute(n int) Option {
	return func(o *options) { o.limits.messages = limitRate{int64(n), time.Minute} }
}

// Keep bounds what a sandbox that runs for long holds: the newest n requests in
// the log, the newest n entries in the ledger of effects, and n messages in a
// mailbox, of which the oldest in Inbox, Sent Items and Deleted Items goes for
// good when there are more. A delta token from before what was forgotten is lost
// (410). A KeepRequests after it has the last word on the log. Default 0:
// everything is kept, and 10,000 requests in the log.
func Keep(n int) Option {
	return func(o *options) {
		o.limits.keep = n
		if n > 0 {
			o.keepRequests = n
		}
	}
}

// JournalSlack sets by how many bytes the journal of a store must have grown
// since it was last compacted before it is compacted again; it must also have
// grown to five times its size then. Default 8 MiB.
func JournalSlack(bytes int64) Option { return func(o *options) { o.limits.journalOver = bytes } }
