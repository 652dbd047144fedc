package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/jet"
)

func (a *app) dlqListCommand() *cobra.Command {
	var f letterFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Long: `Lists dead letters with the number by which the other commands know them, and
at the end how many there are. OUTCOME is "failed" (no effect), "uncertain"
(the effect may be there), or "-" of an item of Outlook that was not told.
With --output json each letter comes whole, with its message.`,
		Example: `  outlook-connector dlq list
  outlook-connector dlq list --publisher send-mail --outcome uncertain
  outlook-connector dlq list --subscription inbox --mailbox ann@contoso.com --since 7d
  outlook-connector dlq list --reason gave_up --reason expired --limit 0 --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.withNATS(cmd.Context(), func(_ *config.Config, conn *jet.Conn) error {
				b := newBox(conn)
				p := a.letterPrinter()
				left, err := f.each(cmd.Context(), b.letters, b.names, p.add)
				return p.end(left, err)
			})
		},
	}
	f.register(a, cmd, 100, "at most this many; 0 means all")
	return cmd
}

// letterPrinter prints letters as they come. It keeps few of them: there may be
// those of 30 days.
type letterPrinter struct {
	a       *app
	columns *tabwriter.Writer // nil: JSON
	tally   tally
}

// rowsTogether is how many rows have common column widths.
const rowsTogether = 200

func (a *app) letterPrinter() *letterPrinter {
	p := &letterPrinter{a: a}
	if a.output != "json" {
		p.columns = tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	}
	return p
}

func (p *letterPrinter) add(l *deadLetter) error {
	n := p.tally.add(l)
	if p.columns == nil {
		return p.a.printElement(n, l)
	}
	if n%rowsTogether == 1 {
		if err := p.columns.Flush(); err != nil {
			return err
		}
		if n == 1 {
			letterColumns(p.columns)
		}
	}
	letterRow(p.columns, l)
	return nil
}

// end prints what comes after the last letter. left is how many were not looked
// at.
func (p *letterPrinter) end(left uint64, err error) error {
	if p.columns == nil {
		if ended := p.a.printArrayEnd(p.tally.all()); err == nil {
			err = ended
		}
		return err
	}
	if flushed := p.columns.Flush(); err != nil || flushed != nil {
		return firstError(err, flushed)
	}
	if p.tally.all() == 0 {
		_, err := fmt.Fprintln(p.a.out, "no dead letters")
		return err
	}
	_, err = fmt.Fprintf(p.a.out, "\n%s\n", p.tally)
	if err == nil && left > 0 {
		_, err = fmt.Fprintf(p.a.out, "%d more not looked at; --limit 0 shows all\n", left)
	}
	return err
}

func letterColumns(w io.Writer) { fmt.Fprintln(w, "ID\tSTORED\tOUTCOME\tFROM\tMAILBOX\tREASON\tERROR") }

func letterRow(w io.Writer, l *deadLetter) {
	fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Sequence, l.Stored.Local().Format(time.DateTime), orDash(l.Outcome), l.from(),
		orDash(oneLine(l.Mailbox, 40)), orDash(oneLine(l.Reason, 40)), oneLine(l.Error, 100))
}

// oneLine is a stranger's text as it may stand in a table.
func oneLine(text string, n int) string {
	return shorten(strings.Join(strings.Fields(strings.Map(printable, text)), " "), n)
}

// shorten cuts a text to at most n characters.
func shorten(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}

// tally counts letters.
type tally struct{ failed, uncertain, items, other int }

// add counts a letter and returns how many there are now.
func (t *tally) add(l *deadLetter) int {
	switch {
	case l.Kind == kindItem:
		t.items++
	case l.uncertain():
		t.uncertain++
	case l.Outcome == "failed":
		t.failed++
	default:
		t.other++
	}
	return t.all()
}

func (t tally) all() int { return t.failed + t.uncertain + t.items + t.other }

func (t tally) String() string {
	var parts []string
	for _, part := range []struct {
		n    int
		text string
	}{
		{t.failed, plural(t.failed, "command") + " failed"},
		{t.uncertain, plural(t.uncertain, "command") + " uncertain"},
		{t.items, plural(t.items, "item") + " not told"},
		{t.other, "not readable"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return count(t.all(), "dead letter") + ": " + strings.Join(parts, ", ")
}

func plural(n int, thing string) string {
	if n == 1 {
		return thing
	}
	return thing + "s"
}

// printElement prints the n-th element of a JSON array, counted from one.
func (a *app) printElement(n int, value any) error {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("  ", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	start := ",\n  "
	if n == 1 {
		start = "[\n  "
	}
	_, err := io.WriteString(a.out, start+strings.TrimSuffix(text.String(), "\n"))
	return err
}

// printArrayEnd ends a JSON array of n elements.
func (a *app) printArrayEnd(n int) error {
	end := "\n]\n"
	if n == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(a.out, end)
	return err
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
