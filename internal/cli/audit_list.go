package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/audit"
	"outlook-connector/internal/jet"
)

// rowFilter says which rows are meant.
type rowFilter struct {
	kind, publisher, client, mailbox, outcome, decision, id string
	since, until                                            momentFlag
	limit                                                   int
}

func (a *app) auditListCommand() *cobra.Command {
	var f rowFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rows of the audit record, the oldest first",
		Long: `Lists who had what done. A command's row says by which publisher and message, in
which mailbox, whether it was allowed or which rule refused it, how it ended,
and Graph's request-id. A grant's row says who signed in or out, from where.
It does not check the chains: outlook-connector audit verify does.`,
		Example: `  outlook-connector audit list --since 24h
  outlook-connector audit list --publisher send-mail --mailbox ann@contoso.com --outcome uncertain
  outlook-connector audit list --kind grant --output json
  outlook-connector audit list --decision refused --since 7d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.withAudit(cmd.Context(), func(record *jet.Audit, _ jet.Names) error {
				return a.listRows(cmd.Context(), record, &f)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "only start, command, grant, outage or end")
	flags.StringVar(&f.publisher, "publisher", "", "only commands of this publisher")
	flags.StringVar(&f.client, "client", "", "only grants of this client")
	flags.StringVar(&f.mailbox, "mailbox", "", "only commands for this mailbox")
	flags.StringVar(&f.outcome, "outcome", "", "only commands that ended as done, failed or uncertain")
	flags.StringVar(&f.decision, "decision", "", "only commands that were allowed or refused")
	flags.StringVar(&f.id, "id", "", "only the command with this id")
	flags.Var(&f.since, "since", "only what was recorded since then: a time ago (90m, 12h, 7d) or a date")
	flags.Var(&f.until, "until", "only what was recorded before then, written as for --since")
	flags.IntVar(&f.limit, "limit", 0, "at most this many; 0 means all")
	fixed := func(name string, values ...string) {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	fixed("kind", rowKinds()...)
	fixed("outcome", rowOutcomes()...)
	fixed("decision", rowDecisions()...)
	fixed("since", "1h", "24h", "7d")
	fixed("until", "1h", "24h", "7d")
	for _, name := range []string{"publisher", "client", "mailbox", "id", "limit"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func rowKinds() []string     { return []string{"start", "command", "grant", "outage", "end"} }
func rowOutcomes() []string  { return []string{"done", "failed", "uncertain"} }
func rowDecisions() []string { return []string{"allowed", "refused", "none"} }

func (f *rowFilter) check() error {
	for _, flag := range []struct {
		name, value string
		allowed     []string
	}{{"kind", f.kind, rowKinds()}, {"outcome", f.outcome, rowOutcomes()}, {"decision", f.decision, rowDecisions()}} {
		if flag.value != "" && !slices.Contains(flag.allowed, flag.value) {
			last := len(flag.allowed) - 1
			return usagef("--%s %q: use %s or %s", flag.name, flag.value, strings.Join(flag.allowed[:last], ", "), flag.allowed[last])
		}
	}
	if f.limit < 0 {
		return usagef("--limit %d: give a number of rows, or 0 for all", f.limit)
	}
	if !f.since.IsZero() && !f.until.IsZero() && !f.since.Before(f.until.Time) {
		return usagef("--since is not before --until")
	}
	f.mailbox = strings.ToLower(f.mailbox)
	return nil
}

// fits reports whether a row is meant.
func (f *rowFilter) fits(r *audit.Row) bool {
	ofCommand := f.publisher != "" || f.mailbox != "" || f.outcome != "" || f.decision != "" || f.id != ""
	switch {
	case f.kind != "" && f.kind != string(r.Kind),
		!f.since.IsZero() && r.Time.Before(f.since.Time), !f.until.IsZero() && !r.Time.Before(f.until.Time),
		ofCommand && r.Command == nil, f.client != "" && (r.Grant == nil || r.Grant.Client != f.client):
		return false
	case !ofCommand:
		return true
	}
	is := func(wanted, value string) bool { return wanted == "" || wanted == value }
	c := r.Command
	return is(f.publisher, c.Publisher) && is(f.mailbox, c.Mailbox) && is(f.outcome, c.Outcome) && is(f.decision, c.Decision) && is(f.id, c.ID)
}

// clocks is how far the clock of a worker may be from the server's: rows are
// looked for by their own time in messages found by the server's.
const clocks = 5 * time.Minute

// errEnough ends the reading of rows.
var errEnough = errors.New("enough rows")

func (a *app) listRows(ctx context.Context, record *jet.Audit, f *rowFilter) error {
	state, err := record.State(ctx)
	if err != nil {
		return err
	}
	since := f.since.Time
	if !since.IsZero() {
		since = since.Add(-clocks)
	}
	p := &rowPrinter{a: a}
	if a.output != "json" {
		p.columns = tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	}
	unread := 0
	err = record.Each(ctx, since, state.Last, func(m jet.AuditMessage) (err error) {
		audit.Lines(m.Data, func(line []byte) {
			row, _, bad := audit.Read(line)
			if bad != nil {
				unread++
				return
			}
			if err == nil && f.fits(&row) {
				err = p.add(&row)
			}
			if err == nil && f.limit > 0 && p.n == f.limit {
				err = errEnough
			}
		})
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if ended := p.end(); err == nil {
		err = ended
	}
	if unread > 0 {
		a.complain(fmt.Errorf("%s not readable: outlook-connector audit verify", count(unread, "row")))
	}
	return err
}

// rowPrinter prints rows as they come.
type rowPrinter struct {
	a       *app
	columns *tabwriter.Writer // nil: JSON
	n       int
}

func (p *rowPrinter) add(r *audit.Row) error {
	p.n++
	if p.columns == nil {
		return p.a.printElement(p.n, r)
	}
	if p.n%rowsTogether == 1 {
		if err := p.columns.Flush(); err != nil {
			return err
		}
		if p.n == 1 {
			fmt.Fprintln(p.columns, "TIME\tKIND\tWHO\tMAILBOX\tWHAT\tRESULT\tREQUEST")
		}
	}
	auditRow(p.columns, r)
	return nil
}

func (p *rowPrinter) end() error {
	if p.columns == nil {
		return p.a.printArrayEnd(p.n)
	}
	if err := p.columns.Flush(); err != nil {
		return err
	}
	if p.n == 0 {
		_, err := fmt.Fprintln(p.a.out, "no rows")
		return err
	}
	_, err := fmt.Fprintf(p.a.out, "\n%s\n", count(p.n, "row"))
	return err
}

func auditRow(w io.Writer, r *audit.Row) {
	mailbox, what, result, request := "", "", "", ""
	switch {
	case r.Command != nil:
		c := r.Command
		mailbox, what, request = c.Mailbox, c.Entity+" "+c.ID, c.RequestID
		result = c.Outcome
		if c.Status > 0 {
			result += fmt.Sprintf(" %d", c.Status)
		}
		if c.Code != "" {
			result += ", " + c.Code
		}
		if c.Decision == "refused" {
			result += ", refused"
		}
	case r.Grant != nil:
		mailbox, what, result = r.Grant.Account, r.Grant.Change, strings.TrimSpace(r.Grant.Address+" "+r.Grant.Code)
	case r.Start != nil:
		what = fmt.Sprintf("process %d, %s", r.Start.PID, r.Start.Version)
	case r.Outage != nil:
		what, result = "nothing stored since "+r.Outage.Since.Local().Format(time.DateTime), r.Outage.Code
	case r.End != nil:
		what = count(int(r.End.Rows), "row")
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Time.Local().Format(time.DateTime), r.Kind, orDash(oneLine(r.Who(), 40)),
		orDash(oneLine(mailbox, 40)), orDash(oneLine(what, 60)), orDash(oneLine(result, 60)), orDash(oneLine(request, 40)))
}
