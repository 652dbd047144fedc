package publisher

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/xform"
)

// Defaults of a [Publisher].
const (
	DefaultGiveUpAfter = 24 * time.Hour
	DefaultInFlight    = 64
)

// MaxNotBefore is how far in the future, counted from its arrival, a command
// may be put off with the header Outlook-Not-Before. The ledger must keep its
// records longer than this plus GiveUpAfter.
const MaxNotBefore = 30 * 24 * time.Hour

// Delivery says what happens when nobody knows whether a request had its
// effect.
type Delivery string

// The deliveries, the loosest first. A message may only move down this list.
const (
	// AtLeastOnce repeats the request: the effect may happen twice.
	AtLeastOnce Delivery = "at_least_once"
	// ExactlyOnce looks the effect up before it repeats anything: see recipe.go.
	ExactlyOnce Delivery = "exactly_once"
	// AtMostOnce never repeats a request that is not safely repeatable: the
	// command ends as uncertain. It is the default.
	AtMostOnce Delivery = "at_most_once"
)

// strictness orders the deliveries; -1 is no delivery at all.
func (d Delivery) strictness() int {
	return slices.Index([]Delivery{AtLeastOnce, ExactlyOnce, AtMostOnce}, d)
}

// Publisher is one publisher of the configuration, with its references
// resolved.
type Publisher struct {
	// Name is the publisher's name and the token of its subject.
	Name string
	// Client is the name of the client that makes its requests.
	Client string
	// Entities are the operations it may do. Reads among them (a pattern such
	// as "mail.*" brings them along) are never done. With exactly one that
	// writes, a message need not name it.
	Entities []*catalog.Operation
	// Mailboxes are the only ones allowed; the first is the default. "*" allows
	// any. Compared without regard to case.
	Mailboxes []string
	// Path, Query and Headers are defaults under what a message brings, member
	// by member.
	Path, Query, Headers map[string]string
	// Payload is a JSON object whose top-level members are defaults under the
	// message's payload. Empty means none.
	Payload []byte
	// RequestTransform is run over {mailbox, entity, path, query, headers,
	// payload} after the defaults; nil means none. Its output is the whole
	// request, and policy is checked on it again.
	RequestTransform *xform.Program
	// Delivery is what the publisher promises; empty means [AtMostOnce].
	Delivery Delivery
	// GiveUpAfter is how long after its arrival (or its Outlook-Not-Before) a
	// command is tried; zero means [DefaultGiveUpAfter].
	GiveUpAfter time.Duration
	// Settle is how long a request of unknown end is left alone before its effect
	// is looked for; zero means [DefaultSettle].
	Settle time.Duration
	// InFlight is how many requests of this publisher the worker has at Graph at a
	// time; zero means [DefaultInFlight]. Up to four times as many commands are in
	// hand, see [Worker.InHand].
	InFlight int
	// ImmutableIDs asks for ids that items keep when they are moved, which are
	// those of the events. https://learn.microsoft.com/graph/outlook-immutable-id
	ImmutableIDs bool
	// Batch lets requests that may be made again go to Graph together with those of
	// other commands ([Call.Batch]).
	Batch bool
	Policy
}

// Options are what a [Worker] is made of.
type Options struct {
	// Publishers are the definitions; their names must differ.
	Publishers []Publisher
	// Catalog resolves the entity that a message names; nil means
	// [catalog.Default].
	Catalog *catalog.Catalog
	// Outlook, Journal, Outcomes and Slots are the other sides. All are needed.
	Outlook  Outlook
	Journal  Journal
	Outcomes Outcomes
	Slots    Slots
	// Audit is the record of who had what done; nil means that there is none.
	Audit Audit
	// Blobs is the object store; nil means that bodies are in messages only.
	Blobs Blobs
	// Files and Uploads are the way of large attachments; nil: there is none.
	Files   Files
	Uploads Uploads
	// ReplyPrefixes are the subject prefixes that Outlook-Reply-To may begin
	// with, besides "_INBOX.".
	ReplyPrefixes []string
	// Log takes one line for each decision; nil means none.
	Log *slog.Logger
	// Registerer takes the metrics; nil means that they are kept and not shown.
	Registerer prometheus.Registerer
	// Now is the clock; nil means [time.Now]. Only for tests that synctest
	// cannot reach.
	Now func() time.Time
	// Jitter picks a delay between zero and most; nil means evenly at random.
	Jitter func(most time.Duration) time.Duration
}

// New checks the options and returns a worker. The error tells every problem
// at once.
func New(o Options) (*Worker, error) {
	w := &Worker{
		catalog:       o.Catalog,
		outlook:       counted{o.Outlook},
		journal:       o.Journal,
		outcomes:      o.Outcomes,
		audit:         o.Audit,
		slots:         o.Slots,
		replyPrefixes: append([]string{"_INBOX."}, o.ReplyPrefixes...),
		log:           o.Log,
		now:           o.Now,
		jitter:        o.Jitter,
		publishers:    make(map[string]*definition, len(o.Publishers)),
		held:          make(map[string]struct{}),
		unstored:      make(map[string]record),
		plainly:       make(map[string]time.Time),
		before:        patience{most: patienceBefore},
		after:         patience{most: patienceAfter},
		telling:       patience{most: patienceTelling},
	}
	var problems []error
	if o.Outlook == nil || o.Journal == nil || o.Outcomes == nil || o.Slots == nil {
		problems = append(problems, errors.New("outlook, journal, outcomes and slots are all needed"))
	}
	if w.catalog == nil {
		w.catalog = catalog.Default()
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.jitter == nil {
		w.jitter = func(most time.Duration) time.Duration {
			return rand.N(most + 1)
		}
	}
	var uploads Uploads
	if o.Uploads != nil {
		uploads = countedUploads{o.Uploads}
	}
	w.uploader = newUploader(Options{Catalog: w.catalog, Outlook: w.outlook, Slots: w.slots, Jitter: w.jitter}, uploads, o.Files)
	for _, p := range o.Publishers {
		def, err := newDefinition(p)
		if err != nil {
			problems = append(problems, fmt.Errorf("publisher %q: %w", p.Name, err))
			continue
		}
		if w.publishers[p.Name] != nil {
			problems = append(problems, fmt.Errorf("publisher %q is there twice", p.Name))
			continue
		}
		def.blobs = o.Blobs
		w.publishers[p.Name] = def
		w.names = append(w.names, p.Name)
	}
	for _, prefix := range o.ReplyPrefixes {
		if prefix == "" || strings.ContainsAny(prefix, "*> \t\r\n") {
			problems = append(problems, fmt.Errorf("reply prefix %q is not a subject prefix", prefix))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	slices.Sort(w.names)
	m, err := newMetrics(o.Registerer, w.names)
	if err != nil {
		return nil, err
	}
	w.metrics = m
	return w, nil
}

// definition is a [Publisher] that was checked and completed.
type definition struct {
	Publisher
	allowed map[string]*catalog.Operation // what it may write, by id
	sole    *catalog.Operation            // the one that a message need not name, or nil
	any     bool                          // any mailbox
	// mailboxes are those allowed: a publisher may have thousands.
	mailboxes map[string]bool
	base      request // its defaults
	blobs     Blobs   // nil: none
	gates     gates   // what is under way
}

func newDefinition(p Publisher) (*definition, error) {
	d := &definition{Publisher: p, allowed: make(map[string]*catalog.Operation, len(p.Entities))}
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !validName(p.Name) {
		problem("the name must match [a-z0-9][a-z0-9-]{0,62}")
	}
	if p.Client == "" {
		problem("a client is needed")
	}
	needsMailbox := false
	for _, op := range p.Entities {
		if checkOperation(op) != nil {
			continue // messages that name it are refused with the reason
		}
		d.allowed[op.ID] = op
		d.sole = op
		needsMailbox = needsMailbox || op.NeedsMailbox()
	}
	switch {
	case len(p.Entities) == 0:
		problem("at least one entity is needed")
	case len(d.allowed) == 0:
		problems = append(problems, checkOperation(p.Entities[0]))
	case len(d.allowed) > 1:
		d.sole = nil
	}
	d.Mailboxes = slices.Clone(p.Mailboxes)
	d.mailboxes = make(map[string]bool, len(p.Mailboxes))
	for i, mailbox := range d.Mailboxes {
		d.Mailboxes[i] = strings.ToLower(mailbox)
		d.mailboxes[d.Mailboxes[i]] = true
		d.any = d.any || mailbox == "*"
		if mailbox == "" || len(mailbox) > maxMailbox {
			problem("a mailbox has from 1 to %d bytes, not %d", maxMailbox, len(mailbox))
		}
	}
	if needsMailbox && len(p.Mailboxes) == 0 {
		problem("at least one mailbox is needed: only those listed are allowed")
	}
	if d.Delivery == "" {
		d.Delivery = AtMostOnce
	}
	if d.Delivery.strictness() < 0 {
		problem("delivery %q is none of at_least_once, exactly_once and at_most_once", d.Delivery)
	}
	if d.GiveUpAfter == 0 {
		d.GiveUpAfter = DefaultGiveUpAfter
	}
	if d.Settle == 0 {
		d.Settle = DefaultSettle
	}
	if d.InFlight == 0 {
		d.InFlight = DefaultInFlight
	}
	if d.GiveUpAfter < 0 || d.InFlight < 0 || d.Settle < 0 {
		problem("give_up_after, settle and in_flight must not be negative")
	}
	d.gates = newGates(d.InFlight, d.Batch)
	var err error
	if d.base, err = defaultsOf(p); err != nil {
		problems = append(problems, err)
	}
	return d, errors.Join(problems...)
}

// validName reports whether a name matches [a-z0-9][a-z0-9-]{0,62}.
func validName(name string) bool {
	if name == "" || len(name) > 63 || name[0] == '-' {
		return false
	}
	return consistsOf(name, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' })
}
