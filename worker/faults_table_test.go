package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/catalog"
	"outlook-connector/internal/sandbox"
	"outlook-connector/publisher"
	"outlook-connector/worker"
)

// TestEveryClassMeetsEveryFault gives a publisher of a worker a command of each
// class that writes, once for each thing that may go wrong, and compares how it
// ends, and how often it has its effect in the sandbox, with a table that people
// wrote (testdata/faults.txt).
func TestEveryClassMeetsEveryFault(t *testing.T) {
	t.Parallel()
	table := newTable(t)
	wanted := readTable(t)
	var cells []*cell
	for _, point := range points {
		for i, class := range columns {
			want := wanted[point.name][i]
			if want != "-" {
				cells = append(cells, table.cell(len(cells), point, class, want))
			}
		}
	}
	room := make(chan struct{}, 24) // of cells at a time: most of them wait
	var all sync.WaitGroup
	for _, c := range cells {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			c.run(t)
		})
	}
	all.Wait()
	table.effects = table.Effects()
	for _, id := range table.hand.ids("/me/mailFolders/drafts/messages?$top=100") {
		table.drafts[id] = true
	}
	for _, c := range cells {
		c.judge(t)
	}
	t.Logf("%d commands of %d classes, %d faults", len(cells), len(columns), len(points))
}

// faultTable is what all cells share.
type faultTable struct {
	*making
	config, nowhere *config.Config // nowhere is that of a Graph that takes no connections
	publishers      []publisher.Publisher
	log             *slog.Logger

	// What there is when all is over.
	effects []sandbox.Effect
	drafts  map[string]bool
}

func newTable(t *testing.T) *faultTable {
	t.Helper()
	w := newWorld(t, sandbox.MailboxConcurrency(1000))
	m := &making{hand: w.hand(ben), group: w.Groups()[0].ID}
	m.hooks = m.listener()
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	const everything = `
    name: everything
    client: contoso
    entities: ["*"]
    mailboxes: [me]
    limits: {notification_hosts: [hooks.contoso.example]}
    give_up_after: 30m
    delivery: exactly_once`
	table := &faultTable{
		making: m, drafts: make(map[string]bool), config: w.publishing(w.GraphURL(), everything), log: slog.New(slog.DiscardHandler),
		nowhere: w.publishing("http://"+closed.Addr().String()+"/v1.0", everything),
	}
	if table.publishers, err = worker.PublishersOf(table.config); err != nil {
		t.Fatal(err)
	}
	return table
}

// readTable reads the table: a line of class names, and one for each fault. What
// ends done, failed or uncertain is d, f or u, behind which is how often it has its
// effect, and a + where a draft stays behind.
func readTable(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, cells, _ := strings.Cut(line, "|")
		rows[strings.TrimSpace(name)] = strings.Fields(cells)
	}
	for i, class := range columns {
		if head := rows["fault"]; i >= len(head) || head[i] != class.name {
			t.Fatalf("column %d of the table is not %s", i, class.name)
		}
	}
	for _, point := range points {
		if row := rows[point.name]; len(row) != len(columns) {
			t.Fatalf("the table has %d cells for %q", len(row), point.name)
		}
	}
	if len(rows) != len(points)+1 {
		t.Fatalf("the table has %d faults, there are %d", len(rows)-1, len(points))
	}
	return rows
}

// cell is a command of a class and what goes wrong with it.
type cell struct {
	table *faultTable
	point
	class column
	want  string

	token   string // by which the sandbox knows its requests
	message publisher.Message
	own     string // the mail that it is about, which is nobody's leftover
	held    chan struct{}
	landed  chan struct{} // closed when a held request is done
	kept    *kept
	letters map[string]publisher.DeadLetter

	mu       sync.Mutex
	clock    time.Time
	round    int // of handing over, from 1
	looked   int // the round of the first read
	struck   int // the round of the strike
	asked    int // the writes that were asked for
	arrived  int // the writes that came to the sandbox
	changed  int // the writes that changed something
	happened bool
	due      time.Time // the end of a Retry-After
	early    int       // requests before that
	requests map[string]bool
	tries    []string // the writes that the ledger knows of, by their client-request-ids
}

// cell makes what a command is about and has the sandbox listen for its requests.
func (table *faultTable) cell(n int, p point, class column, want string) *cell {
	t := table.t
	t.Helper()
	key := fmt.Sprintf("fault-%d", n)
	c := &cell{
		table: table, point: p, class: class, want: want, clock: time.Now(), requests: make(map[string]bool),
		held: make(chan struct{}), landed: make(chan struct{}), letters: make(map[string]publisher.DeadLetter),
		kept: &kept{records: make(map[string][]byte), revisions: make(map[string]uint64)},
	}
	row := table.furnish(writable{message: strings.ReplaceAll(class.message, "«etag»", "@etag"), payload: strings.ReplaceAll(class.payload, "«key»", key)})
	c.own = table.ids["message"]
	if strings.Contains(row.message, "@etag") {
		var mail struct {
			Tag string `json:"@odata.etag"`
		}
		if err := json.Unmarshal(table.send(http.MethodGet, messagesAt+"/"+c.own, "", nil), &mail); err != nil || mail.Tag == "" {
			t.Fatalf("no etag: %v", err)
		}
		row.message = strings.ReplaceAll(row.message, "@etag", strings.ReplaceAll(mail.Tag, `"`, `\"`))
	}
	row.id = class.id
	c.message = publisher.Message{
		Publisher: "everything", Subject: "outlook.publish.everything", Stream: "OUTLOOK_PUBLISH", Sequence: uint64(n + 1),
		Header: map[string][]string{"Nats-Msg-Id": {key}}, Data: []byte(row.text()), Received: c.clock,
	}
	var err error
	if c.token, err = table.Token(ben, strings.Join(everyScope(), " ")); err != nil {
		t.Fatal(err)
	}
	table.KeepControl(sandbox.Match{}, c.control)
	return c
}

// control sees the requests to the sandbox, and strikes where the cell says.
func (c *cell) control(r *sandbox.Request) bool {
	if r.Header.Get("Authorization") != "Bearer "+c.token || c.class.name == "I" && !strings.HasSuffix(r.Path, "$batch") {
		return false // another's, or a part of a batch
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[r.ID] = true
	if time.Now().Before(c.due) {
		c.early++
	}
	if !writes(r.Method) {
		if c.looked == 0 {
			c.looked = c.round
		}
		return c.look != nil && (c.lookAlways || c.looked == c.round) && c.look(r)
	}
	c.arrived++
	struck := c.arrived == c.nth() || c.always && c.arrived > c.nth()
	r.After(func(a *sandbox.Answer) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if a.Status >= 200 && a.Status < 300 && !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
			c.changed++
		}
		if c.late && struck {
			close(c.landed)
		}
	})
	if c.then != nil && c.arrived == c.nth()+1 {
		return c.then(r)
	}
	if !struck || c.strike == nil && !c.late {
		return false
	}
	c.struck, c.due = c.round, time.Now().Add(c.pause)
	if c.late {
		r.Hold(c.held)
		return true
	}
	return c.strike(r)
}

// nth is the write that goes wrong.
func (c *cell) nth() int {
	if c.first {
		return 1
	}
	return c.class.writes
}

// begins reports whether a record is of the write that goes wrong: each has a
// client-request-id of its own.
func (c *cell) begins(data []byte) bool {
	var is struct{ Try string }
	if json.Unmarshal(data, &is) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tries) == 0 || c.tries[len(c.tries)-1] != is.Try {
		c.tries = append(c.tries, is.Try)
	}
	return len(c.tries) == c.nth()
}

// counts counts a write that is asked for, and reports whether it goes wrong.
func (c *cell) counts() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.asked == c.nth()
}

// now reports whether it is the moment, which comes once.
func (c *cell) now(m moment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != m || c.happened {
		return false
	}
	c.happened = true
	return true
}

// start begins a life of a worker.
func (c *cell) start(t *testing.T, settings *config.Config) (w *publisher.Worker, stop func(), ok bool) {
	t.Helper()
	outlook, stop, err := worker.OutlookOf(settings, token(c.token), worker.Options{Config: settings, Log: c.table.log}, c.patience)
	if err != nil {
		t.Error(err)
		return nil, nil, false
	}
	p := &process{cell: c, outlook: outlook}
	w, err = publisher.New(publisher.Options{
		Publishers: c.table.publishers, Outlook: p, Journal: p, Outcomes: p, Slots: c.kept,
		Now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.clock
		},
	})
	if err != nil {
		t.Error(err)
		stop()
		return nil, nil, false
	}
	return w, stop, true
}

// run hands the command over until it has ended, to a new worker when one dies.
func (c *cell) run(t *testing.T) {
	t.Helper()
	settings := c.table.config
	if c.dead {
		settings = c.table.nowhere
	}
	w, stop, ok := c.start(t, settings)
	if !ok {
		return
	}
	defer func() { stop() }()
	for range 100 {
		c.mu.Lock()
		c.round++
		c.mu.Unlock()
		verdict, alive := c.hand(t.Context(), w)
		c.meanwhile(t)
		if alive && verdict.Ack && !c.now(acknowledged) {
			return
		}
		if !alive {
			verdict.After = 30 * time.Second // until the message comes again
		}
		if c.pause > 0 { // of which the client has its own clock
			patience := time.NewTimer(min(verdict.After, 5*time.Second/2))
			<-patience.C
		}
		c.mu.Lock()
		c.clock = c.clock.Add(verdict.After)
		restart := !alive || c.dead && c.round == 1
		c.mu.Unlock()
		if restart {
			stop()
			if w, stop, ok = c.start(t, c.table.config); !ok {
				stop = func() {}
				return
			}
		}
	}
	t.Errorf("%s, %s: never ends", c.name, c.class.name)
}

// hand hands the command over once. alive is false where the process has died.
func (c *cell) hand(ctx context.Context, w *publisher.Worker) (v publisher.Verdict, alive bool) {
	var one sync.WaitGroup
	one.Go(func() {
		v = w.Handle(ctx, c.message)
		alive = true
	})
	one.Wait()
	return v, alive
}

// meanwhile is what happens after the round of the strike.
func (c *cell) meanwhile(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	now := c.struck > 0 && c.struck == c.round
	c.mu.Unlock()
	switch {
	case now && c.late:
		close(c.held)
		<-c.landed
	case now && c.thrownAway:
		var record struct{ Item string }
		if err := json.Unmarshal(c.record(), &record); err != nil || record.Item == "" {
			t.Errorf("%s, %s: no draft: %v", c.name, c.class.name, err)
			return
		}
		c.table.send(http.MethodDelete, messagesAt+"/"+record.Item, "", nil)
	}
}

// record is what the ledger has of the command.
func (c *cell) record() []byte {
	for _, data := range c.kept.records {
		return data
	}
	return nil
}

// judge compares how the command has ended with the table.
func (c *cell) judge(t *testing.T) {
	t.Helper()
	name := c.name + ", " + c.class.name
	if op, err := catalog.Default().Lookup(c.class.id); err != nil {
		t.Error(err)
	} else if is := string(op.Class()); !strings.HasPrefix(c.class.name, is) && !map[string]bool{"B3": is == "B2", "D3": is == "D1"}[c.class.name] {
		t.Errorf("%s is of class %s", c.class.id, is)
	}
	effects, leftover := 0, ""
	for _, e := range c.table.effects {
		switch {
		case !c.requests[e.RequestID]:
		case e.Kind == c.class.effect:
			effects++
		case c.table.drafts[e.Item]:
			leftover = "+"
		}
	}
	if c.class.effect == "" {
		effects = c.changed
	}
	end := c.kept.outcome
	got := fmt.Sprintf("%.1s%d%s", end.Outcome, effects, leftover)
	if got != c.want {
		t.Errorf("%s: %s, want %s: %+v %+v", name, got, c.want, end, end.Error)
	}
	if dead := len(c.letters); dead > 1 || dead == 0 != (end.Outcome == "done") {
		t.Errorf("%s: %d dead letters for %s", name, dead, end.Outcome)
	}
	var record struct{ State string }
	if err := json.Unmarshal(c.record(), &record); err != nil || record.State != end.Outcome {
		t.Errorf("%s: the ledger says %q, the result %q", name, record.State, end.Outcome)
	}
	if c.early > 0 {
		t.Errorf("%s: %d requests before Retry-After was over", name, c.early)
	}
	if hit := c.struck > 0 || c.happened || c.dead; !hit {
		t.Errorf("%s: it never happened", name)
	}
}
