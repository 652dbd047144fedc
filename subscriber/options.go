package subscriber

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/xform"
)

// Defaults of [Options] and [Subscription].
const (
	defaultEvery    = 30 * time.Second
	defaultPageSize = 100
	defaultParallel = 64
	defaultMessages = 900
	defaultBytes    = 4 << 20
)

// Options are what a [Subscriber] is made of. Source, Stream, Queue,
// DeadLetters and Slots are required.
type Options struct {
	// Subscriptions are those of the configuration. None is allowed: such a
	// worker gives back every feed that it is given.
	Subscriptions []Subscription
	Source        Source
	Stream        Stream
	Queue         Queue
	DeadLetters   DeadLetters
	Slots         Slots
	// Parallel is how many feeds are polled at a time. Zero means 64.
	Parallel int
	// MaxMessages and MaxBytes bound one commit, cursor included; a larger page
	// is committed in several steps. Zero means 900 and 4 MiB, below the 1,000
	// messages that the server takes in one batch:
	// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md
	MaxMessages, MaxBytes int
	// MaxBody is the largest body that the stream takes; a larger item is a dead
	// letter. Zero means no limit.
	MaxBody int
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means that nobody looks.
	Registerer prometheus.Registerer
}

// Subscription is one entity to be read from some mailboxes.
type Subscription struct {
	// Name is unique among the subscriptions.
	Name string
	// Client is the connection to read by.
	Client string
	// Tenant begins the ce-source of the events; empty means Client.
	Tenant string
	// Operation is the entity: a delta function.
	Operation *catalog.Operation
	// Mailboxes are "me" or users; must be empty for an operation without one.
	Mailboxes []string
	// Path, Query and Headers are the request's.
	Path, Query, Headers map[string]string
	// RequestTransform runs over {"path": {}, "query": {}, "headers": {}} before
	// each poll; nil leaves the request as it is. Its path and query count only
	// where a round begins, its headers always. No result skips the poll.
	RequestTransform *xform.Program
	// RequestSource is the text of RequestTransform: a changed text begins a new
	// round, as changed parameters do.
	RequestSource string
	// Transform runs over each item that Graph gave; nil leaves the bytes as they
	// are, no result drops the item, a failure makes it a dead letter. Items
	// that were removed do not go through it: Graph sends their id and nothing
	// of what a program could look at.
	Transform *xform.Program
	// Every is the time between two polls of a feed. Zero means 30 s.
	Every time.Duration
	// Start says what of that which is there already is told.
	Start Start
	// Deletions says whether removed items are told.
	Deletions bool
	// TTL is how long an event stays in the stream; zero means for ever.
	TTL time.Duration
	// PageSize is how many items a page should have. Zero means 100. It goes as
	// Prefer: odata.maxpagesize and not as $top, with which a whole round of
	// message delta was seen to end early:
	// https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/2232
	PageSize int
	// ImmutableIDs asks for ids that survive a move within the mailbox:
	// https://learn.microsoft.com/graph/outlook-immutable-id
	ImmutableIDs bool
}

// Start is where a subscription begins. The zero value is "now": the first full
// read is quiet except for items that arrived, or were modified, after the
// feed's registration. That needs receivedDateTime among the selected
// properties; items without it are taken for old.
type Start struct {
	// All tells every item that is there, as a snapshot.
	All bool
	// From tells the items received at or after that moment, as a snapshot. It
	// needs receivedDateTime among the selected properties. All goes before it.
	From time.Time
}

// fill checks the subscription and fills in what the zero value means. The
// error names every problem.
func (s *Subscription) fill() error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("subscription %s: "+format, append([]any{s.Name}, args...)...))
	}
	if s.Name == "" || s.Client == "" {
		report("name and client are needed")
	}
	switch {
	case s.Operation == nil:
		report("no entity")
	case !s.Operation.Delta:
		report("%s is not a delta function", s.Operation.ID)
	case s.Operation.NeedsMailbox() && len(s.Mailboxes) == 0:
		report("no mailbox")
	case !s.Operation.NeedsMailbox() && len(s.Mailboxes) > 0:
		report("%s takes no mailbox", s.Operation.ID)
	case !s.Operation.NeedsMailbox():
		s.Mailboxes = []string{"-"}
	}
	if s.Every < 0 || s.PageSize < 0 || s.TTL < 0 {
		report("every, page size and ttl must not be negative")
	}
	if s.Every == 0 {
		s.Every = defaultEvery
	}
	if s.PageSize == 0 {
		s.PageSize = defaultPageSize
	}
	if s.Tenant == "" {
		s.Tenant = s.Client
	}
	s.Path, s.Query, s.Headers = maps.Clone(s.Path), maps.Clone(s.Query), maps.Clone(s.Headers)
	if s.RequestTransform == nil && s.Start.needsReceived() && !selects(s.Query, memberReceived) {
		report("start at a date needs %s in $select", memberReceived)
	}
	return errors.Join(problems...)
}

// needsReceived reports whether nothing can be told without receivedDateTime.
func (s Start) needsReceived() bool { return !s.All && !s.From.IsZero() }

// selects reports whether the answer will have the member: there is no $select,
// or it names the member.
func selects(query map[string]string, member string) bool {
	list, given := query["$select"]
	if !given {
		return true
	}
	for name := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(name), member) {
			return true
		}
	}
	return false
}

// feeds returns the subscription's feeds and the mailbox as configured of each.
func (s *Subscription) feeds() map[Feed]string {
	part := Part(container(s.Path))
	feeds := make(map[Feed]string, len(s.Mailboxes))
	for _, mailbox := range s.Mailboxes {
		feeds[Feed{Subscription: s.Name, Mailbox: strings.ToLower(mailbox), Part: part}] = mailbox
	}
	return feeds
}
