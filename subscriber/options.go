package subscriber

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/folders"
	"outlook-connector/internal/xform"
)

// Defaults of [Options] and [Subscription].
const (
	defaultEvery    = 30 * time.Second
	defaultPageSize = 100
	defaultParallel = 64
	defaultMessages = 900
	defaultBytes    = 4 << 20
	defaultCache    = 64 << 20
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
	// Items reads single things. Nil: none are read, so that single mode, and
	// what looks at items again, is refused or left out.
	Items Items
	// Blobs keeps large bodies. Nil: attachments: blob and mime are refused.
	Blobs Blobs
	// IndexCache is how many bytes of the feeds' indexes are kept in memory, for
	// all feeds together. Zero means 64 MiB, enough for 2.5 million items.
	IndexCache int64
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
	// Operation is the entity: one that only reads.
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
	// TTL is how long an event stays in the stream; zero means for ever.
	TTL time.Duration
	// Mode is how the entity is read; zero: as fits the entity.
	Mode Mode
	// Payload is the body of entities that are read by POST.
	Payload map[string]any
	// OnePage leaves the links to further pages alone.
	OnePage bool
	// Folders are patterns of folder names, with includes and excludes, in place
	// of the path parameter. Nil: the path says which.
	Folders []string
	// Members say whose mailboxes are read, in place of Mailboxes.
	Members Members
	// Window is the moving window of a calendar view; zero: the query says which.
	Window Window
	// Schedule says when the feeds are polled; zero: Every.
	Schedule Schedule
	// Changes are the kinds that are told, of "created", "updated" and
	// "deleted"; nil: all. What Start tells as a snapshot is told in any case.
	Changes []string
	// Hydrate reads items again of which Graph sent only a part.
	Hydrate bool
	// Attachments says what becomes of attachments.
	Attachments Attachments
	// MIME tells the raw message instead of JSON.
	MIME bool
	// PageSize is how many items a page should have. Zero means 100. It goes as
	// Prefer: odata.maxpagesize and not as $top, with which a whole round of
	// message delta was seen to end early:
	// https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/2232
	PageSize int
	// ImmutableIDs asks for ids that survive a move within the mailbox:
	// https://learn.microsoft.com/graph/outlook-immutable-id
	ImmutableIDs bool

	// clock is made of Every and Schedule, and schedule identifies them.
	clock    clock
	schedule string
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
	s.fillEntity(report)
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
	if s.Every > 0 {
		var err error
		if s.clock, err = newClock(s.Schedule, s.Every); err != nil {
			report("%w", err)
		}
		s.schedule = digest("schedule", s.Every.String(), s.Schedule.Min.String(), s.Schedule.Max.String(), s.Schedule.Cron)[:8]
	}
	for _, kind := range s.Changes {
		if kind != Created && kind != Updated && kind != Deleted {
			report("changes cannot be %q", kind)
		}
	}
	s.Path, s.Query, s.Headers = maps.Clone(s.Path), maps.Clone(s.Query), maps.Clone(s.Headers)
	if s.RequestTransform == nil && s.Start.needsReceived() && !selects(s.Query, memberReceived) {
		report("start at a date needs %s in $select", memberReceived)
	}
	return errors.Join(problems...)
}

// fillEntity checks what is read and how.
func (s *Subscription) fillEntity(report func(format string, args ...any)) {
	if s.Operation == nil {
		report("no entity")
		return
	}
	modes := s.Operation.Modes()
	if s.Mode == "" && len(modes) > 0 {
		s.Mode = Mode(modes[0])
	}
	found := s.Members != Members{}
	switch {
	case len(modes) == 0:
		report("%s does not only read", s.Operation.ID)
	case !s.Operation.NeedsMailbox() && (len(s.Mailboxes) > 0 || found):
		report("%s takes no mailbox", s.Operation.ID)
	case !s.Operation.NeedsMailbox():
		s.Mailboxes = []string{"-"}
	case len(s.Mailboxes) == 0 && !found:
		report("no mailbox")
	}
	switch s.Mode {
	case ModeDelta, ModeList, ModeSingle:
		if s.Mode == ModeDelta && !s.Operation.Delta && len(modes) > 0 {
			report("%s is not a delta function", s.Operation.ID)
		}
	default:
		report("no mode %q", s.Mode)
	}
	if len(s.Folders) > 0 {
		if kind := folderKindOf(s.Operation); kind == nil {
			report("%w", errNoFolders(s.Operation))
		} else if _, err := folders.Parse(s.Folders, kind.names); err != nil {
			report("%w", err)
		}
	}
	if s.Window != (Window{}) {
		if s.Window.Back < 0 || s.Window.Ahead < 0 || s.Window.Step < 0 || s.Window.Back+s.Window.Ahead == 0 {
			report("the window is from %s before to %s after today, in steps of %s", s.Window.Back, s.Window.Ahead, s.Window.Step)
		}
		if s.Window.Step == 0 {
			s.Window.Step = 24 * time.Hour
		}
	}
}

// wants reports whether events of the kind are told.
func (s *Subscription) wants(kind string) bool {
	switch {
	case len(s.Changes) == 0 || kind == Snapshot:
		return true
	case kind == Changed:
		return slices.Contains(s.Changes, Created) || slices.Contains(s.Changes, Updated)
	default:
		return slices.Contains(s.Changes, kind)
	}
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

// feeds returns the feeds that the configuration names and the mailbox as
// configured of each. Where folders or members are found by a rule, these are
// the feeds that find them.
func (s *Subscription) feeds() map[Feed]string {
	if s.Members != (Members{}) {
		return map[Feed]string{{Subscription: s.Name, Mailbox: "-", Part: partMembers}: "-"}
	}
	part := Part(container(s.Path))
	if len(s.Folders) > 0 {
		part = partFolders
	}
	feeds := make(map[Feed]string, len(s.Mailboxes))
	for _, mailbox := range s.Mailboxes {
		feeds[Feed{Subscription: s.Name, Mailbox: strings.ToLower(mailbox), Part: part}] = mailbox
	}
	return feeds
}

// Mode is how an entity is read.
type Mode string

// The modes. The zero value is the one that fits the entity.
const (
	ModeDelta  Mode = "delta"
	ModeList   Mode = "list"
	ModeSingle Mode = "single"
)

// Members name mailboxes by a rule that is followed. At most one is set.
type Members struct {
	// Group is the id of a group whose members' mailboxes are read.
	Group string
	// Users is a $filter expression over /users.
	Users string
}

// Window moves with time: it begins Back before today and ends Ahead after it,
// and a new one is begun every Step (zero: a day).
type Window struct{ Back, Ahead, Step time.Duration }

// Schedule says when feeds are polled. Zero means Every of the subscription.
type Schedule struct {
	// Min and Max bound an interval that adapts itself to the feed.
	Min, Max time.Duration
	// Cron is a cron expression of five fields, in UTC.
	Cron string
}

// Attachments says what becomes of attachments.
type Attachments string

// What becomes of attachments. The zero value is none.
const (
	AttachmentsNone   Attachments = "none"
	AttachmentsList   Attachments = "list"
	AttachmentsInline Attachments = "inline"
	AttachmentsBlob   Attachments = "blob"
)
