package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

// Store is where the messages of chains go.
type Store interface {
	// Append stores a message behind the chain's message with sequence after (0:
	// there is none) and returns its sequence. [ErrNotLast] says that another
	// message is the last one; any other error leaves open whether it is stored.
	// Once it has returned, the data are the caller's again, unless ctx has ended.
	Append(ctx context.Context, chain string, data []byte, after uint64) (uint64, error)
	// Last returns the chain's last message, nil and 0 where there is none.
	Last(ctx context.Context, chain string) (data []byte, sequence uint64, err error)
	// MaxMessage is how many bytes a message may have at present, 0 where that is
	// not known.
	MaxMessage() int
}

// ErrNotLast is returned by [Store.Append] where the chain goes on otherwise than
// its writer thinks.
var ErrNotLast = errors.New("the chain has another last message")

// Bounds of a message. One of more than maxBytes, or of more than the store
// takes, has a single row.
const (
	maxRows  = 512
	maxBytes = 256 << 10
)

// pauses are between the attempts to store a message that is refused though it
// would fit: the one before may still be on its way through a cluster, or its
// leader be one that has lost its office.
var pauses = []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}

const (
	// DefaultLinger is how long at least two messages are apart: rows come in
	// groups of many commands, and each message costs its sync of the disk.
	DefaultLinger = 5 * time.Millisecond
	// retryEvery is the pace at which a message is tried again that could not be
	// stored.
	retryEvery = time.Second
	// closing bounds the end of a chain.
	closing = 5 * time.Second
)

// RecorderOptions are what a [Recorder] works with. Store is required.
type RecorderOptions struct {
	Store Store
	// Start is the first row of each chain.
	Start Start
	// Linger replaces [DefaultLinger]; negative is none.
	Linger time.Duration
	// Log and Registerer may be nil.
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; nil means [time.Now].
	Now func() time.Time
}

// Recorder writes the chain of one process. Rows that are added while a message
// is on its way go together into the next one.
type Recorder struct {
	o    RecorderOptions
	log  *slog.Logger
	rows map[Kind]prometheus.Counter
	fail prometheus.Counter

	mu      sync.Mutex
	pending []*entry
	problem error     // why the last message could not be stored
	since   time.Time // from when on
	closed  bool

	kick chan struct{}

	// These belong to Run alone.
	chain *Chain
	after uint64   // sequence of the chain's last message
	group []*entry // of the message on its way: there is one at a time
	data  []byte
}

// entry is a row that waits.
type entry struct {
	row  Row
	done chan error // gets one value; nil where nobody waits
}

// message is a group of rows on its way.
type message struct {
	rows   []*entry
	before Head // of the chain
	data   []byte
}

// NewRecorder makes a recorder. Nothing is stored before [Recorder.Run].
func NewRecorder(o RecorderOptions) *Recorder {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Linger = cmp.Or(o.Linger, DefaultLinger)
	if o.Now == nil {
		o.Now = time.Now
	}
	rows := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outlook_audit_rows_total", Help: "Rows stored in the audit record, by kind.",
	}, []string{"kind"})
	r := &Recorder{
		o: o, log: o.Log, kick: make(chan struct{}, 1), rows: map[Kind]prometheus.Counter{},
		fail: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "outlook_audit_failures_total", Help: "Attempts to store rows in the audit record that failed.",
		}),
	}
	for _, kind := range []Kind{KindStart, KindCommand, KindGrant, KindOutage, KindEnd} {
		r.rows[kind] = rows.WithLabelValues(string(kind))
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(rows, r.fail)
	}
	r.begin(nil, nil)
	return r
}

// begin begins a chain: its first row, and the rows that the chain before could
// not take.
func (r *Recorder) begin(after *Head, rows []*entry) {
	start := r.o.Start
	start.After = after
	r.chain, r.after = NewChain(ChainName(r.o.Now(), strings.ToLower(rand.Text()[:10]))), 0
	rows = slices.DeleteFunc(rows, func(e *entry) bool { return e.row.Start != nil })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = slices.Concat([]*entry{{row: Row{Start: &start}}}, rows, r.pending)
}

// errClosed says that a row came after the end of the chain.
var errClosed = fault.New(fault.Retry, "the audit record of this process is closed").WithCode("audit_closed")

// Note takes a row that nobody waits for. It is stored as soon as the store
// takes it, as long as the process lives. The row's part is the recorder's from
// then on.
func (r *Recorder) Note(row Row) { r.add(&entry{row: row}) }

// Add takes a row and returns at once; the row's part is the recorder's from then
// on. What it returns is called once and waits until the row is stored. Where ctx
// ends first, the row may be stored or not, and is not waiting any more: its
// caller adds it again.
func (r *Recorder) Add(row Row) (stored func(ctx context.Context) error) {
	e := &entry{row: row, done: make(chan error, 1)}
	if !r.add(e) {
		return func(context.Context) error { return errClosed }
	}
	return func(ctx context.Context) error {
		select {
		case err := <-e.done:
			return err // and the context need not make anything to be asked
		default:
		}
		select {
		case err := <-e.done:
			return err
		case <-ctx.Done():
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pending = slices.DeleteFunc(r.pending, func(other *entry) bool { return other == e })
		if r.problem != nil {
			return r.problem
		}
		return fault.New(fault.Retry, "audit row not stored in time: %w", context.Cause(ctx)).WithCode("audit_late")
	}
}

func (r *Recorder) add(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.pending = append(r.pending, e)
	select {
	case r.kick <- struct{}{}:
	default:
	}
	return true
}

// Problem returns why rows cannot be stored at present, or nil.
func (r *Recorder) Problem() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem
}

// Run stores rows until ctx ends, and then what still waits and the end of the
// chain, for as long as the store takes them. It is called once.
func (r *Recorder) Run(ctx context.Context) {
	// A message must not be broken off by the end of ctx: nobody would know
	// whether it is stored.
	storing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closing, cancel) })()
	var out *message
	for ctx.Err() == nil {
		if out == nil {
			out = r.next()
		}
		if out == nil {
			select {
			case <-r.kick:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		pause := retryEvery
		if err := r.store(storing, out); err == nil {
			out, pause = nil, r.o.Linger-time.Since(began)
		} else if errors.Is(err, ErrNotLast) {
			out = nil
		}
		if pause <= 0 {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	r.close(storing, out)
}

// close ends the chain.
func (r *Recorder) close(ctx context.Context, out *message) {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.pending {
			e.end(errClosed)
		}
		r.pending = nil
	}()
	if out == nil {
		out = r.next()
	}
	for ; out != nil; out = r.next() {
		if err := r.store(ctx, out); err != nil && !errors.Is(err, ErrNotLast) {
			for _, e := range out.rows {
				e.end(err)
			}
			r.log.WarnContext(ctx, "audit chain left open", "chain", r.chain.Head().Chain, "error", err)
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
	r.group = append(r.group[:0], &entry{row: Row{End: &End{}}})
	if last, err := r.encode(r.group); err != nil || r.store(ctx, last) != nil {
		return
	}
	head := r.chain.Head()
	// The log is another place than the stream: whoever changes the one later has
	// to change the other.
	r.log.InfoContext(ctx, "audit chain ended", "chain", head.Chain, "rows", head.Number, "hash", head.Hash)
}

func (e *entry) end(err error) {
	if e.done != nil {
		e.done <- err
	}
}

// next makes a message of what waits, or returns nil.
func (r *Recorder) next() *message {
	r.mu.Lock()
	rows := r.pending[:min(len(r.pending), maxRows)]
	clear(r.group) // nobody keeps the rows of the message before
	r.group = append(r.group[:0], rows...)
	r.pending = slices.Delete(r.pending, 0, len(rows))
	r.mu.Unlock()
	if len(r.group) == 0 {
		return nil
	}
	m, err := r.encode(r.group)
	if err != nil {
		for _, e := range r.group {
			e.end(err)
		}
		return nil
	}
	return m
}

// encode makes a message of rows as far as it may be long. The others go back to
// those that wait.
func (r *Recorder) encode(rows []*entry) (*message, error) {
	m := &message{rows: rows, before: r.chain.head}
	bound := maxBytes
	if most := r.o.Store.MaxMessage(); most > 0 {
		bound = min(bound, most)
	}
	now := r.o.Now()
	r.data = r.data[:0]
	for i, e := range rows {
		before, length := r.chain.head, len(r.data)
		if i > 0 {
			r.data = append(r.data, '\n')
		}
		var err error
		if r.data, err = r.chain.AppendTo(r.data, &e.row, now); err != nil { // a row is made of nothing that cannot be JSON
			return nil, fmt.Errorf("encode audit row: %w", err)
		}
		if i > 0 && len(r.data) > bound {
			r.data, r.chain.head = r.data[:length], before
			r.mu.Lock()
			r.pending = slices.Concat(rows[i:], r.pending)
			r.mu.Unlock()
			m.rows = rows[:i]
			break
		}
	}
	m.data = r.data
	return m, nil
}

// store stores a message and tells those who wait. [ErrNotLast] says that the
// stream has lost the chain: its rows wait for the next one.
func (r *Recorder) store(ctx context.Context, m *message) error {
	sequence, err := r.append(ctx, m.data)
	if err != nil {
		r.fail.Inc()
	}
	switch {
	case errors.Is(err, ErrNotLast):
		r.log.ErrorContext(ctx, "the stream has other audit rows than were stored, a new chain begins",
			"chain", m.before.Chain, "rows", m.before.Number, "hash", m.before.Hash, "hint", "outlook-connector audit verify")
		var after *Head
		if m.before.Number > 0 {
			after = &m.before
		}
		r.begin(after, m.rows)
		return err
	case err != nil:
		r.failed(ctx, err)
		return err
	}
	r.after = sequence
	r.succeeded(ctx)
	for _, e := range m.rows {
		r.rows[e.row.Kind].Inc()
		e.end(nil)
	}
	return nil
}

// append stores a message, and looks what is there where it is refused. Only a
// store that holds to its refusal, through all pauses, has lost the chain.
func (r *Recorder) append(ctx context.Context, data []byte) (uint64, error) {
	chain := r.chain.Head().Chain
	for try := 0; ; try++ {
		sequence, err := r.o.Store.Append(ctx, chain, data, r.after)
		if !errors.Is(err, ErrNotLast) {
			return sequence, err
		}
		last, at, looked := r.o.Store.Last(ctx, chain)
		switch {
		case looked != nil:
			return 0, looked
		case string(last) == string(data):
			return at, nil // an earlier attempt came through
		case at > r.after || try == len(pauses):
			return 0, err
		}
		if slept := retry.Sleep(ctx, pauses[try]); slept != nil {
			return 0, slept
		}
	}
}

func (r *Recorder) failed(ctx context.Context, err error) {
	r.mu.Lock()
	first := r.problem == nil
	if first {
		r.since = r.o.Now()
	}
	r.problem = err
	r.mu.Unlock()
	if first {
		r.log.WarnContext(ctx, "audit rows cannot be stored, commands wait", "error", err, "hint", fault.HintOf(err))
	}
}

// succeeded notes the end of an outage, in the record too.
func (r *Recorder) succeeded(ctx context.Context) {
	r.mu.Lock()
	problem := r.problem
	r.problem = nil
	if problem != nil {
		outage := &entry{row: Row{Outage: &Outage{Since: r.since.UTC(), Code: fault.Of(problem).Code}}}
		r.pending = slices.Insert(r.pending, 0, outage)
	}
	r.mu.Unlock()
	if problem != nil {
		r.log.InfoContext(ctx, "audit rows are stored again")
	}
}
