package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/audit"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The audit record: who had what done, and whether the record is whole",
		Long: `The audit record has a row for the end of every command and for every change
of a grant. Each worker writes a chain of rows, in which every row carries the
hash of the one before it.`,
		Example: "  outlook-connector audit list --since 24h\n  outlook-connector audit verify",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.auditListCommand(), a.auditVerifyCommand())
	return cmd
}

// headsFile is what audit verify --heads writes and --against reads.
type headsFile struct {
	Made    time.Time    `json:"made_at"`
	Stream  string       `json:"stream"`
	Created time.Time    `json:"stream_created_at"`
	Last    uint64       `json:"last_sequence"`
	Heads   []audit.Head `json:"heads"`
}

// verified is what audit verify prints as JSON.
type verified struct {
	Stream  string    `json:"stream"`
	Created time.Time `json:"stream_created_at"`
	Keep    string    `json:"keep"`
	audit.Report
	OK bool `json:"ok"`
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var heads, against string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every chain of the audit record",
		Long: `Reads the whole record and checks each row against its own hash and against the
row before it, the numbers of rows and messages, and the ends of chains. It
exits with 1 where something is missing, changed, out of order or put in.

A chain without an end row is told as open: its worker runs, or crashed, or its
last rows were cut off. Only heads that were noted somewhere else tell the
last from the others: write them with --heads to a place that whoever can
change the stream cannot reach, and compare with --against.`,
		Example: `  outlook-connector audit verify
  outlook-connector audit verify --heads heads-2026-11-23.json
  outlook-connector audit verify --against heads-2026-11-23.json --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var noted *headsFile
			if against != "" {
				var err error
				if noted, err = readHeads(against); err != nil {
					return err
				}
			}
			return a.withAudit(cmd.Context(), func(record *jet.Audit, names jet.Names) error {
				return a.verify(cmd.Context(), record, names, heads, noted)
			})
		},
	}
	cmd.Flags().StringVar(&heads, "heads", "", "write the last row of each chain to this `FILE`")
	cmd.Flags().StringVar(&against, "against", "", "compare with the heads in this `FILE`, which --heads wrote")
	_ = cmd.MarkFlagFilename("heads", "json")
	_ = cmd.MarkFlagFilename("against", "json")
	return cmd
}

// withAudit connects to NATS for a command that reads the record.
func (a *app) withAudit(ctx context.Context, f func(record *jet.Audit, names jet.Names) error) error {
	return a.withNATS(ctx, func(c *config.Config, conn *jet.Conn) error {
		err := f(conn.Audit(), conn.Names())
		if err != nil && fault.Of(err).Code == "stream_missing" && !c.Audit.Enabled {
			return fault.New(fault.Fatal, "there is no audit record: audit.enabled is false").WithHint("set audit.enabled: true and restart the workers")
		}
		return err
	})
}

func readHeads(file string) (*headsFile, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageHint(fmt.Errorf("--against: %w", err), "it takes a file that outlook-connector audit verify --heads wrote")
	}
	var noted headsFile
	if err := json.Unmarshal(text, &noted); err != nil || noted.Stream == "" {
		return nil, usageHint(fmt.Errorf("--against: %s holds no heads", file), "it takes a file that outlook-connector audit verify --heads wrote")
	}
	return &noted, nil
}

func (a *app) verify(ctx context.Context, record *jet.Audit, names jet.Names, heads string, noted *headsFile) error {
	state, err := record.State(ctx)
	if err != nil {
		return err
	}
	var anchors []audit.Head
	if noted != nil {
		anchors = noted.Heads
	}
	v := audit.NewVerifier(state.Keep, time.Now(), anchors)
	err = record.Each(ctx, time.Time{}, state.Last, func(m jet.AuditMessage) error {
		v.Add(audit.Message(m))
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	result := verified{Stream: names.AuditStream(), Created: state.Created, Keep: keepText(state.Keep), Report: v.End(state.Last)}
	result.aboutStream(state, noted)
	result.OK = result.ProblemCount == 0
	if heads != "" {
		if err := writeHeads(heads, result, state); err != nil {
			return err
		}
	}
	if err := a.printVerified(result); err != nil || result.OK {
		return err
	}
	return fault.New(fault.Fatal, "the audit record has %s", count(result.ProblemCount, "problem")).
		WithHint("docs/operate/audit.md tells what each of them means; keep a copy of the stream before anything is changed")
}

// aboutStream adds what the stream itself has against it.
func (r *verified) aboutStream(state jet.AuditState, noted *headsFile) {
	add := func(code, format string, args ...any) {
		r.Problems = append(r.Problems, audit.Problem{Code: code, Text: fmt.Sprintf(format, args...)})
		r.ProblemCount++
	}
	if !state.Locked {
		add("unlocked", "the stream %s lets messages be deleted or purged", r.Stream)
	}
	switch {
	case noted == nil:
	case noted.Stream != r.Stream:
		add("anchor", "the heads are of the stream %s", noted.Stream)
	case !noted.Created.Equal(state.Created):
		add("anchor", "the stream was made anew on %s, after the heads were noted", state.Created.Format(time.RFC3339))
	case state.Last < noted.Last:
		add("anchor", "the stream ends with message %d, and had %d when the heads were noted", state.Last, noted.Last)
	}
}

func keepText(keep time.Duration) string {
	if keep == 0 {
		return "for ever"
	}
	return config.Duration(keep).String()
}

func writeHeads(file string, r verified, state jet.AuditState) error {
	out := headsFile{Made: time.Now().UTC(), Stream: r.Stream, Created: state.Created, Last: state.Last, Heads: []audit.Head{}}
	for _, chain := range r.Chains {
		out.Heads = append(out.Heads, chain.Head)
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fault.New(fault.Fatal, "heads not written: %w", err).WithHint("name a file in a folder that can be written to")
	}
	return nil
}

// listed is how many chains and problems the text shows; the JSON has more.
const listed = 20

func (a *app) printVerified(r verified) error {
	if a.output == "json" {
		return a.printJSON(r)
	}
	states := map[string]int{}
	var text strings.Builder
	for _, chain := range r.Chains {
		states[chain.State]++
		if chain.State != audit.StateOpen || states[chain.State] > listed {
			continue
		}
		worker := "its first rows are older than the record"
		if chain.Start != nil {
			worker = fmt.Sprintf("%s, process %d", oneLine(cmp.Or(chain.Start.Host, "-"), 60), chain.Start.PID)
		}
		fmt.Fprintf(&text, "open or crashed: chain %s (%s), last row %d at %s\n", chain.Chain, worker, chain.Number, chain.Time.Local().Format(time.DateTime))
	}
	if more := states[audit.StateOpen] - listed; more > 0 {
		fmt.Fprintf(&text, "open or crashed: %s more\n", count(more, "chain"))
	}
	for i, p := range r.Problems {
		if i == listed {
			fmt.Fprintf(&text, "problem: %d more; --output json shows them\n", r.ProblemCount-listed)
			break
		}
		where := ""
		if p.Chain != "" {
			where = "chain " + oneLine(p.Chain, 80) + ": "
		}
		fmt.Fprintf(&text, "problem: %s%s (%s)\n", where, oneLine(p.Text, 200), p.Code)
	}
	fmt.Fprintf(&text, "%s in %s, %s: %d ended, %d open or crashed, %d continued in another; rows are kept %s\n",
		count(int(r.Rows), "row"), count(int(r.Messages), "message"), count(len(r.Chains), "chain"),
		states[audit.StateEnded], states[audit.StateOpen], states[audit.StateContinued], r.Keep)
	if r.OK {
		text.WriteString("the record is whole: between the ends of each chain no row was changed, removed, put in or moved\n")
	}
	_, err := a.out.Write([]byte(text.String()))
	return err
}
