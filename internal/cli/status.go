package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/jet"
	"outlook-connector/tokenstore"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "One screen: NATS, clients and grants, feeds, publishers, dead letters, and what to do",
		Long: `Asks the running process at http.listen and the NATS of the configuration, and
shows what it finds. Exits with 1 where something of high severity is wrong.`,
		Example: "  outlook-connector status\n  outlook-connector status --output json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context()) },
	}
}

// feedsOnScreen is how many feeds are shown: of ten thousand only the worst are of
// interest.
const feedsOnScreen = 100

// overview is all that status found.
type overview struct {
	Process *httpd.Status      `json:"process,omitempty"`
	NoProc  string             `json:"process_error,omitempty"`
	Streams []jet.StreamStatus `json:"streams,omitempty"`
	NoNATS  string             `json:"nats_error,omitempty"`
}

func (a *app) status(ctx context.Context) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	var o overview
	var processErr, natsErr error
	o.Process, processErr = a.processStatus(ctx, c)
	o.Streams, natsErr = a.streams(ctx, c)
	if processErr != nil && natsErr != nil {
		return processErr
	}
	if processErr != nil {
		o.NoProc = processErr.Error()
	}
	if natsErr != nil {
		o.NoNATS = natsErr.Error()
	}
	if a.output == "json" {
		err = a.printJSON(o)
	} else {
		err = a.printOverview(o)
	}
	if err != nil {
		return err
	}
	if natsErr != nil {
		return natsErr
	}
	if o.Process != nil && !health.Ready(o.Process.Conditions) {
		return fault.New(fault.Retry, "%s", health.Summary(o.Process.Conditions))
	}
	return nil
}

func (a *app) processStatus(ctx context.Context, c *config.Config) (*httpd.Status, error) {
	p, err := findProcess(ctx, c)
	if err != nil {
		return nil, err
	}
	var status httpd.Status
	if err := p.get(ctx, "/status", &status); err != nil {
		return nil, err
	}
	return &status, nil
}

func (a *app) streams(ctx context.Context, c *config.Config) (streams []jet.StreamStatus, err error) {
	conn, err := a.connect(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx) // only read from
	}()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return conn.Status(ctx)
}

func (a *app) printOverview(o overview) error {
	section := func(title string, rows func(w io.Writer)) {
		fmt.Fprintf(a.out, "\n%s\n", title)
		w := tabwriter.NewWriter(a.out, 2, 0, 2, ' ', 0)
		rows(w)
		_ = w.Flush() // a terminal that went away shows in the last write below
	}
	if o.Process == nil {
		fmt.Fprintf(a.out, "%s\n", o.NoProc)
	} else {
		p := o.Process
		fmt.Fprintf(a.out, "outlook-connector %s: %s\nroles %s; tokens: %s; nats: %s\n",
			p.Version, health.Summary(p.Conditions), strings.Join(p.Roles, ", "), tokenRole(p), p.NATS)
		section("CLIENTS", func(w io.Writer) {
			for _, c := range p.Clients {
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", c.Name, c.State, orDash(c.Account), tryText(c.Error, c.Hint))
			}
		})
		section("FEEDS", func(w io.Writer) {
			feeds := slices.Clone(p.Feeds)
			if len(feeds) > feedsOnScreen {
				httpd.WorstFirst(feeds)
			}
			for _, f := range feeds[:min(len(feeds), feedsOnScreen)] {
				phase, next := orDash(f.Phase), f.NextPoll
				if f.Result == resultPaused {
					phase, next = resultPaused, time.Time{}
				}
				fmt.Fprintf(w, "  %s\t%s\t%s\tlast poll %s\tnext %s\t%s\n", f.Subscription, f.Mailbox, phase,
					ago(f.LastPoll), in(next), tryText(f.Error, f.Hint))
			}
			if more := len(feeds) - feedsOnScreen; more > 0 {
				fmt.Fprintf(w, "  and %d more, the worst are above; all of them: outlook-connector status --output json\n", more)
			}
		})
		section("PUBLISHERS", func(w io.Writer) {
			for _, pub := range p.Publishers {
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", pub.Subject, pub.Delivery, strings.Join(pub.Entities, ", "), strings.Join(pub.Mailboxes, ", "))
				for _, weaker := range pub.Weaker {
					fmt.Fprintf(w, "    weaker: %s\n", weaker)
				}
			}
			if q := p.Queue; q != nil && len(p.Publishers) > 0 {
				fmt.Fprintf(w, "  commands: %d ready, %d in hand or put off, %d mailboxes in order\n", q.Ready, q.Held, q.MailboxTails)
				if q.MailboxTails > 0 {
					fmt.Fprintf(w, "  in order: %d commands, most of them (%d) on %s\n", q.TailCommands, q.LongestTailHas, q.LongestTail)
				}
			}
		})
		section("DEAD LETTERS", func(w io.Writer) {
			if p.DeadLetters == nil {
				fmt.Fprintf(w, "  not known: NATS does not answer\n")
				return
			}
			fmt.Fprintf(w, "  commands %d\tentities %d\n", p.DeadLetters["publish"], p.DeadLetters["event"])
			if p.DeadLetters["publish"]+p.DeadLetters["event"] > 0 {
				fmt.Fprintf(w, "  Try: outlook-connector dlq list\n")
			}
		})
		section("CONDITIONS", func(w io.Writer) {
			for _, c := range p.Conditions {
				state := "ok"
				switch {
				case !c.OK && c.Because != "":
					state = "because of " + c.Because
				case !c.OK:
					state = tryText(c.Cause, c.Hint)
				}
				fmt.Fprintf(w, "  %s\t%s\n", c.Code, state)
			}
		})
	}
	section("STREAMS", func(w io.Writer) {
		if o.NoNATS != "" {
			fmt.Fprintf(w, "  %s\n", o.NoNATS)
		}
		for _, s := range o.Streams {
			if s.Missing {
				fmt.Fprintf(w, "  %s\tmissing\n", s.Name)
				continue
			}
			fmt.Fprintf(w, "  %s\t%d messages\t%s\n", s.Name, s.Messages, bytesText(s.Bytes))
		}
	})
	return nil
}

func tryText(text, hint string) string {
	if text == "" {
		return ""
	}
	if hint == "" {
		return text
	}
	return text + "   Try: " + hint
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}

func in(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return "in " + max(time.Until(t), 0).Round(time.Second).String()
}

// bytesText is a size for people.
func bytesText(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
}

// noMetrics answers /metrics where no worker runs.
func noMetrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no worker runs in this process", http.StatusNotFound)
	})
}

// tokenRole says what a process is to the tokens, and where it is not the owner,
// who is.
func tokenRole(p *httpd.Status) string {
	if p.TokenRole == string(tokenstore.RoleOwner) || p.TokenOwner == "" {
		return p.TokenRole
	}
	return p.TokenRole + " of " + p.TokenOwner
}
