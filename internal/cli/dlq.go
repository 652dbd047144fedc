package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/jet"
)

// deadLetter is what both kinds of dead letters have in common.
type deadLetter struct {
	Sequence uint64          `json:"dlq_id"`
	Subject  string          `json:"subject"`
	Stored   time.Time       `json:"stored_at"`
	Letter   json.RawMessage `json:"letter"`

	cause
}

// cause is read from the letter.
type cause struct {
	ID       string `json:"id"`
	Reason   string `json:"reason"`
	Error    string `json:"error"`
	Hint     string `json:"hint"`
	Attempts int    `json:"attempts"`
}

func readLetter(d jet.DeadLetter) deadLetter {
	letter := deadLetter{Sequence: d.Sequence, Subject: d.Subject, Stored: d.Time, Letter: d.Data}
	if err := json.Unmarshal(d.Data, &letter.cause); err != nil {
		letter.Error = "the dead letter is not JSON"
		letter.Letter, _ = json.Marshal(d.Data)
	}
	return letter
}

func (a *app) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dlq",
		Short:   "See dead letters: commands and entities that could not be done",
		Example: "  outlook-connector dlq list\n  outlook-connector dlq show 7",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var kind, name string
	var limit int
	list := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Example: `  outlook-connector dlq list
  outlook-connector dlq list --kind publish --name send-mail --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withNATS(cmd.Context(), func(_ *config.Config, conn *jet.Conn) error {
				filter, err := dlqFilter(conn.Names(), kind, name)
				if err != nil {
					return err
				}
				found, err := conn.DeadLetters().List(cmd.Context(), filter, limit)
				if err != nil {
					return err
				}
				return a.printLetters(found)
			})
		},
	}
	list.Flags().StringVar(&kind, "kind", "", "only publish (commands) or event (entities)")
	list.Flags().StringVar(&name, "name", "", "only this publisher or subscription; needs --kind")
	list.Flags().IntVar(&limit, "limit", 100, "at most this many; 0 means all")
	_ = list.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"publish", "event"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(list, &cobra.Command{
		Use:     "show ID",
		Short:   "Show one dead letter: its cause, attempts, outcome and the message itself",
		Example: "  outlook-connector dlq show 7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sequence, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usageHint(fmt.Errorf("%q is no id of a dead letter", args[0]), "outlook-connector dlq list")
			}
			return a.withNATS(cmd.Context(), func(_ *config.Config, conn *jet.Conn) error {
				found, err := conn.DeadLetters().Get(cmd.Context(), sequence)
				if err != nil {
					return err
				}
				return a.showLetter(readLetter(found))
			})
		},
	})
	return cmd
}

// dlqFilter builds the subject filter of a kind and a name.
func dlqFilter(names jet.Names, kind, name string) (string, error) {
	switch {
	case kind == "" && name == "":
		return "", nil
	case kind == "":
		return "", usagef("--name needs --kind publish or --kind event")
	case kind != "publish" && kind != "event":
		return "", usagef("--kind %q: use publish or event", kind)
	}
	root := strings.TrimSuffix(names.Dead(), ">") + kind + "."
	switch {
	case name == "":
		return root + ">", nil
	case strings.ContainsAny(name, " .*>"):
		return "", usagef("--name %q is not the name of a publisher or subscription", name)
	case kind == "publish":
		return root + name, nil
	default:
		return root + name + ".>", nil
	}
}

func (a *app) printLetters(found []jet.DeadLetter) error {
	letters := make([]deadLetter, 0, len(found))
	for _, d := range found {
		letters = append(letters, readLetter(d))
	}
	if a.output == "json" {
		return a.printJSON(letters)
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(a.out, "no dead letters")
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTORED\tSUBJECT\tREASON\tERROR")
	for _, l := range letters {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", l.Sequence, l.Stored.Local().Format(time.DateTime), l.Subject, l.Reason, shorten(l.Error, 100))
	}
	return w.Flush()
}

func (a *app) showLetter(l deadLetter) error {
	if a.output == "json" {
		return a.printJSON(l)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "dead letter\t%d\nstored\t%s\nsubject\t%s\nmessage\t%s\nreason\t%s\nerror\t%s\n",
		l.Sequence, l.Stored.Local().Format(time.DateTime), l.Subject, l.ID, l.Reason, l.Error)
	if l.Hint != "" {
		fmt.Fprintf(w, "try\t%s\n", l.Hint)
	}
	fmt.Fprintf(w, "attempts\t%d\n", l.Attempts)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return a.printJSON(l.Letter)
}

// shorten cuts a text to at most n characters.
func shorten(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
