package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

func (a *app) dlqShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter: its cause, what was tried, its message, and what to do",
		Example: `  outlook-connector dlq show 7
  outlook-connector dlq show OUTLOOK_PUBLISH-17
  outlook-connector dlq show 7 --output json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeOneLetter,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkNames(args); err != nil {
				return err
			}
			return a.withNATS(cmd.Context(), func(_ *config.Config, conn *jet.Conn) error {
				found, err := a.findAll(cmd.Context(), newBox(conn), args)
				if err != nil {
					return err
				}
				l := &found[0]
				// What the ledger knows is more than the letter tells, and may be gone.
				if stored, _, err := conn.Ledger().Load(cmd.Context(), l.command.Key); l.command.Key != "" && err == nil && stored != nil {
					if record, err := publisher.ReadRecord(stored); err == nil && record.Is(l.command) {
						l.Ledger = &recordShown{State: record.State, Step: record.Step, Item: record.Item, Looked: record.Looked}
					}
				}
				return a.showLetter(l)
			})
		},
	}
}

// completeOneLetter is completeLetters for a command that takes one.
func (a *app) completeOneLetter(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeLetters(cmd, args, begun)
}

func (a *app) showLetter(l *deadLetter) error {
	if a.output == "json" {
		return a.printJSON(l)
	}
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		if value := fmt.Sprintf(format, args...); value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, oneLine(value, 1000))
		}
	}
	row("dead letter", "%d", l.Sequence)
	row("stored", "%s", l.Stored.Local().Format(time.DateTime))
	row("subject", "%s", l.Subject)
	row("from", "%s", l.from())
	row("mailbox", "%s", l.Mailbox)
	row("outcome", "%s", l.Outcome)
	row("message", "%s", l.ID)
	row("reason", "%s", l.Reason)
	row("error", "%s", l.Error)
	row("try", "%s", l.Hint)
	switch {
	case l.bad != nil:
	case l.Kind == kindCommand:
		evidence(row, l)
	default:
		itemEvidence(row, l)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := showMessage(&text, l); err != nil {
		return err
	}
	fmt.Fprintf(&text, "\nWhat to do\n%s", whatToDo(l))
	_, err := a.out.Write(text.Bytes())
	return err
}

// evidence shows what is known of a command's end.
func evidence(row func(name, format string, args ...any), l *deadLetter) {
	c, o := &l.command, &l.command.Outcome
	if again, err := c.Redrive(); err == nil && again.N > 1 {
		row("redriven", "it was redrive %d of %s", again.N-1, again.Of)
	}
	row("entity", "%s", o.Entity)
	row("was on", "%s", fmt.Sprintf("%s, %s %d", c.Subject, c.Stream, c.Sequence))
	row("received", "%s", moment(c.ReceivedAt))
	row("died", "%s", moment(c.DiedAt))
	row("attempts", "%d", l.Attempts)
	if o.Status != 0 {
		row("last answer", "%d", o.Status)
	}
	row("request-id", "%s", o.RequestID)
	row("client-request-id", "%s", o.ClientRequestID)
	row("item", "%s", o.ItemID)
	row("internet message id", "%s", o.InternetMessageID)
	row("Graph said", "%s", string(o.Body))
	// What else the worker has written down, such as the look-ups that it made.
	more := unknownMembers(l.Letter)
	for _, name := range slices.Sorted(maps.Keys(more)) {
		row(strings.ReplaceAll(name, "_", " "), "%s", more[name])
	}
	if r := l.Ledger; r != nil {
		row("step", "%s", r.Step)
		row("made so far", "%s", r.Item)
		if r.Looked > 0 {
			row("look-ups", "%s that did not find the effect", count(r.Looked, "look"))
		}
		row("ledger", "%s: %s", c.Key, r.State)
	}
}

func itemEvidence(row func(name, format string, args ...any), l *deadLetter) {
	it := l.item()
	row("died", "%s", moment(it.DiedAt))
	row("item", "%s", it.Headers["Outlook-Id"])
	row("change", "%s", it.Headers["Outlook-Change"])
}

// unknownMembers returns the members of a command's letter and of its outcome
// that this file does not name.
func unknownMembers(letter []byte) map[string]string {
	var whole, outcome map[string]json.RawMessage
	more := map[string]string{}
	if json.Unmarshal(letter, &whole) != nil {
		return more
	}
	_ = json.Unmarshal(whole["outcome"], &outcome) // nil where it is no object
	filled := publisher.DeadLetter{
		Hint: "x", Stack: "x", Headers: map[string][]string{"x": nil}, Data: []byte("0"), DataBase64: []byte("x"), DataOmitted: 1,
		Outcome: publisher.Outcome{
			Mailbox: "x", Entity: "x", Status: 1, RequestID: "x", ClientRequestID: "x", ItemID: "x", InternetMessageID: "x",
			Body: []byte("0"), BodyOmitted: 1, Error: &publisher.Problem{},
		},
	}
	for _, pair := range []struct {
		of   any
		have map[string]json.RawMessage
	}{{filled, whole}, {filled.Outcome, outcome}} {
		text, err := json.Marshal(pair.of)
		if err != nil {
			continue
		}
		var known map[string]json.RawMessage
		if json.Unmarshal(text, &known) != nil {
			continue
		}
		for name, value := range pair.have {
			if _, is := known[name]; !is {
				more[name] = strings.Trim(string(value), `"`)
			}
		}
	}
	return more
}

// showMessage prints the message that died, or the item as Graph gave it.
func showMessage(out io.Writer, l *deadLetter) error {
	var data []byte
	var coded []byte
	var omitted int
	what := "The message"
	switch {
	case l.bad != nil:
		data, what = l.Letter, "The letter, which this program cannot read"
	case l.Kind == kindCommand:
		data, coded, omitted = l.command.Data, l.command.DataBase64, l.command.DataOmitted
		for _, name := range slices.Sorted(maps.Keys(l.command.Headers)) {
			for _, value := range l.command.Headers[name] {
				what += fmt.Sprintf("\n%s: %s", oneLine(name, 100), oneLine(value, 500))
			}
		}
	default:
		it := l.item()
		data, coded, omitted, what = it.Data, it.DataBase64, it.DataOmitted, "The item as Graph gave it"
	}
	fmt.Fprintf(out, "\n%s\n", what)
	switch {
	case omitted > 0:
		fmt.Fprintf(out, "(not kept: it has %d bytes, too many for a dead letter)\n", omitted)
	case len(data) > 0:
		var indented bytes.Buffer
		if err := json.Indent(&indented, data, "", "  "); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", strings.Map(printable, indented.String()))
	default:
		fmt.Fprintf(out, "%s\n", strings.Map(printable, strings.ToValidUTF8(string(coded), "�")))
	}
	return nil
}

// printable keeps a stranger's text from steering the terminal.
func printable(r rune) rune {
	if r == '\n' || r == '\t' || unicode.IsPrint(r) {
		return r
	}
	return '�'
}

// whatToDo says in lines how to be done with a letter.
func whatToDo(l *deadLetter) string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	id := l.Sequence
	discard := fmt.Sprintf("outlook-connector dlq discard %d", id)
	switch {
	case l.bad != nil:
		say("A newer outlook-connector may have written it: update this one. To remove it: %s", discard)
	case l.Kind == kindItem:
		say("The item itself is unharmed in Outlook; its event was not told. Correct the cause: the item's next change is told as usual.")
		say("A full read does not tell this change again. Take what you need from the letter, then remove it:")
		say("outlook-connector dlq show %d --output json", id)
		say("%s", discard)
	case l.uncertain():
		say("It may have had its effect: nobody knows. Look first%s.", whereToLook(l))
		say("It is there:      outlook-connector dlq resolve %d --as-done", id)
		if l.command.DataOmitted == 0 {
			say("It is not there:  outlook-connector dlq redrive %d --%s", id, mayTwiceFlag)
		}
	case l.command.DataOmitted == 0:
		say("It had no effect. Correct the cause, then send it again, as it is or with changes:")
		say("outlook-connector dlq redrive %d", id)
		say("outlook-connector dlq redrive %d --set payload.member=value --dry-run", id)
		say("Or remove it: %s", discard)
	}
	if l.bad == nil && l.Kind == kindCommand && l.command.DataOmitted > 0 {
		say("Its message was too long to be kept. Publish it again from where it came from, then: %s", discard)
	}
	return strings.Join(lines, "\n") + "\n"
}

// whereToLook says where an effect would be seen, as far as it is known.
func whereToLook(l *deadLetter) string {
	o := &l.command.Outcome
	mailbox := cmp.Or(o.Mailbox, "the mailbox")
	about := ""
	if !l.command.DiedAt.IsZero() {
		about = ", at about " + moment(l.command.DiedAt)
	}
	var said struct {
		Payload struct {
			Subject string                   `json:"subject"`
			Message struct{ Subject string } `json:"message"`
		} `json:"payload"`
	}
	_ = json.Unmarshal(l.command.Data, &said) // not every message has a subject
	subject := cmp.Or(said.Payload.Message.Subject, said.Payload.Subject)
	if subject != "" {
		subject = fmt.Sprintf(" with the subject %q", oneLine(subject, 80))
	}
	switch {
	case o.InternetMessageID != "":
		return fmt.Sprintf(" in %s (Sent Items, Drafts) for the mail %s%s%s", mailbox, o.InternetMessageID, subject, about)
	case o.ItemID != "":
		return fmt.Sprintf(" in %s for the item %s%s%s", mailbox, o.ItemID, subject, about)
	case sends(o.Entity):
		return fmt.Sprintf(" into Sent Items and Drafts of %s for a mail%s%s", mailbox, subject, about)
	default:
		return fmt.Sprintf(" in %s for what %s does%s%s", mailbox, cmp.Or(o.Entity, "the command"), subject, about)
	}
}

// sends reports whether an operation sends a mail.
func sends(entity string) bool {
	if !strings.HasPrefix(entity, "mail.") {
		return false
	}
	for _, verb := range []string{"send", "reply", "forward"} {
		if i := strings.LastIndexByte(entity, '.'); strings.HasPrefix(strings.ToLower(entity[i+1:]), verb) {
			return true
		}
	}
	return false
}

func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Local().Format(time.DateTime)
}
