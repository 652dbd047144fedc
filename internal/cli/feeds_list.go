package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/subscriber"
)

// resultPaused is the result of a feed that an operator stopped, as workers say
// it.
const resultPaused = "paused"

// partFolders is the part of a feed that follows the folders of a mailbox.
const partFolders = "folders"

// feedRow is what is known of a feed.
type feedRow struct {
	Subscription string `json:"subscription"`
	Mailbox      string `json:"mailbox"`
	Part         string `json:"part"`
	// Folder is what the part stands for, where that is known.
	Folder string `json:"folder,omitempty"`
	// Configured says that the configuration at hand has the subscription.
	Configured bool      `json:"configured"`
	Registered time.Time `json:"registered,omitzero"`
	Paused     bool      `json:"paused"`
	Retiring   bool      `json:"retiring,omitempty"`
	// Resync identifies the newest full read that was asked for.
	Resync string `json:"resync,omitempty"`
	// Phase is what is being read; empty before anything was stored.
	Phase string `json:"phase,omitempty"`
	Round int    `json:"round,omitempty"`
	Pages int    `json:"pages,omitempty"`
	// Cursor is when the cursor was written, Done when the newest complete round
	// began.
	Cursor time.Time `json:"cursor_at,omitzero"`
	Done   time.Time `json:"done_at,omitzero"`
	// Worker says that the worker at http.listen has the feed; what follows is
	// what it knows.
	Worker   bool      `json:"worker"`
	LastPoll time.Time `json:"last_poll,omitzero"`
	NextPoll time.Time `json:"next_poll,omitzero"`
	Result   string    `json:"result,omitempty"`
	Lag      float64   `json:"lag_seconds"`
	Error    string    `json:"error,omitempty"`
	Hint     string    `json:"hint,omitempty"`

	subject       string
	changed, gone bool
}

// newFeedRow reads the message of a feed. What is not of this program's making
// is left out.
func newFeedRow(names jet.Names, feed jet.Feed) (feedRow, bool) {
	name, err := names.ParseFeed(feed.Subject)
	if err != nil {
		return feedRow{}, false
	}
	row := feedRow{Subscription: name.Subscription, Mailbox: name.Mailbox, Part: name.Part, Registered: feed.Registered, subject: feed.Subject}
	row.read(feed.Data)
	return row, true
}

// read takes in the data of the message.
func (r *feedRow) read(data []byte) {
	told, err := subscriber.ReadFeedData(data)
	if err != nil {
		r.Error, r.Hint = err.Error(), fault.HintOf(err)
		return
	}
	r.Paused, r.Resync, r.Retiring = told.Paused, told.Resync, told.Retire
	if !told.Registered.IsZero() {
		r.Registered = told.Registered
	}
}

func (r *feedRow) name() string { return r.Subscription + "/" + r.Mailbox + "/" + r.Part }

func compareRows(a, b feedRow) int {
	return cmp.Or(cmp.Compare(a.Subscription, b.Subscription), cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.Part, b.Part))
}

// describeFeeds adds what the cursors, the configuration and the running worker
// say.
func (a *app) describeFeeds(ctx context.Context, c *config.Config, conn *jet.Conn, rows []feedRow) error {
	folders := configuredFolders(c)
	type box struct{ subscription, mailbox string }
	paths := make(map[box]map[string]string) // of folders that were discovered
	for i := range rows {
		row := &rows[i]
		row.Folder, row.Configured = folders[row.Subscription][row.Part], folders[row.Subscription] != nil
		stored, err := conn.CursorOf(ctx, jet.FeedName{Subscription: row.Subscription, Part: row.Part, Mailbox: row.Mailbox})
		if err != nil {
			return err
		}
		state, err := subscriber.ReadCursorState(stored.Value)
		if err != nil {
			row.Error, row.Hint = err.Error(), fault.HintOf(err)
		}
		row.Phase, row.Round, row.Pages, row.Done = state.Phase, state.Round, state.Pages, state.Done
		row.Cursor = stored.Stored
		if row.Part == partFolders {
			if paths[box{row.Subscription, row.Mailbox}], err = subscriber.FolderPaths(stored.Value); err != nil {
				row.Error, row.Hint = err.Error(), fault.HintOf(err)
			}
		}
	}
	for i := range rows {
		row := &rows[i]
		row.Folder = cmp.Or(row.Folder, paths[box{row.Subscription, row.Mailbox}][row.Part])
	}
	status, err := a.processStatus(ctx, c)
	if err != nil {
		a.complain(fmt.Errorf("polls and errors are not known: %w", err))
		return nil
	}
	type key struct{ subscription, mailbox, part string }
	known := make(map[key]int, len(rows))
	for i := range rows {
		known[key{rows[i].Subscription, rows[i].Mailbox, rows[i].Part}] = i
	}
	for _, f := range status.Feeds {
		i, ok := known[key{f.Subscription, f.Mailbox, f.Part}]
		if !ok {
			continue
		}
		row := &rows[i]
		row.Worker, row.LastPoll, row.NextPoll, row.Result, row.Lag = true, f.LastPoll, f.NextPoll, f.Result, f.Lag
		if row.Paused {
			row.NextPoll = time.Time{}
		}
		if f.Error != "" {
			row.Error, row.Hint = f.Error, f.Hint
		}
		row.Phase = cmp.Or(row.Phase, f.Phase)
	}
	return nil
}

// configuredFolders returns what the parts of each subscription stand for, as
// far as the configuration names it.
func configuredFolders(c *config.Config) map[string]map[string]string {
	folders := make(map[string]map[string]string, len(c.Subscriptions))
	for i := range c.Subscriptions {
		s := &c.Subscriptions[i]
		var ids []string
		for _, name := range slices.Sorted(maps.Keys(s.Path)) {
			ids = append(ids, s.Path[name])
		}
		container := strings.Join(ids, "/")
		folders[s.Name] = map[string]string{jet.Part(container): container}
	}
	return folders
}

// state is the row's phase, or what stands above it.
func (r *feedRow) state() string {
	switch {
	case r.Paused:
		return resultPaused
	case r.Retiring:
		return "retiring"
	case !r.Configured:
		return "not configured"
	case r.Phase == "" && !r.Cursor.IsZero():
		return "discovery" // it follows folders or members, and reads no items
	default:
		return cmp.Or(r.Phase, "new")
	}
}

func (a *app) printFeeds(rows []feedRow) error {
	if a.output == "json" {
		return a.printJSON(slices.Concat([]feedRow{}, rows)) // [] and not null
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.out, "no feeds are registered")
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBSCRIPTION\tMAILBOX\tFOLDER\tPHASE\tCURSOR\tLAST POLL\tNEXT POLL\tLAG\tERROR")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Subscription, r.Mailbox, shorten(cmp.Or(r.Folder, r.Part), 40), r.state(),
			ago(r.Cursor), ago(r.LastPoll), in(r.NextPoll), lagText(r.Lag), orDash(tryText(r.Error, r.Hint)))
	}
	return w.Flush()
}

// lagText is a lag in seconds for people.
func lagText(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// printChanged tells what was done to which feeds.
func (a *app) printChanged(rows []feedRow, done string) error {
	if a.output == "json" {
		type changed struct {
			Subscription string `json:"subscription"`
			Mailbox      string `json:"mailbox"`
			Part         string `json:"part"`
			Paused       bool   `json:"paused"`
			Resync       string `json:"resync,omitempty"`
		}
		list := make([]changed, 0, len(rows))
		for _, r := range rows {
			list = append(list, changed{r.Subscription, r.Mailbox, r.Part, r.Paused, r.Resync})
		}
		return a.printJSON(list)
	}
	const named = 20
	for i := range rows[:min(len(rows), named)] {
		r := &rows[i]
		note := ""
		if r.Paused && done != resultPaused {
			note = " (paused: it begins once it is resumed)"
		}
		if _, err := fmt.Fprintf(a.out, "%s: %s%s\n", done, r.name(), note); err != nil {
			return err
		}
	}
	if more := len(rows) - named; more > 0 {
		_, err := fmt.Fprintf(a.out, "%s: %s more\n", done, count(more, "feed"))
		return err
	}
	return nil
}
