package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// The kinds of dead letters, as in their subjects.
const (
	kindCommand = "publish"
	kindItem    = "event"
)

func (a *app) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Dead letters: see what could not be done, send it again, or be done with it",
		Long: `A dead letter is a command that failed or whose effect is uncertain, or an item
of Outlook that could not become an event. It is kept for 30 days with its
cause and its message.

A letter is named by the number that dlq list shows, by the id of its command,
or by the beginning of that id where only one letter has it.`,
		Example: "  outlook-connector dlq list\n  outlook-connector dlq show 7\n  outlook-connector dlq redrive 7",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dlqListCommand(), a.dlqShowCommand(), a.dlqRedriveCommand(), a.dlqDiscardCommand(), a.dlqResolveCommand())
	return cmd
}

// deadLetter is a dead letter of either kind. It is what --output json prints.
type deadLetter struct {
	Sequence uint64    `json:"dlq_id"`
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject"`
	Stored   time.Time `json:"stored_at"`

	letterHead
	Mailbox string `json:"mailbox,omitempty"`
	// Outcome is failed or uncertain; empty for an item.
	Outcome string          `json:"outcome,omitempty"`
	Letter  json.RawMessage `json:"letter"`
	// Ledger is what the ledger tells; only dlq show asks it.
	Ledger *recordShown `json:"ledger,omitempty"`

	command publisher.DeadLetter // of the kind publish
	bad     error                // the letter cannot be read
}

// letterHead is what the letters of both kinds tell by the same names.
type letterHead struct {
	ID           string `json:"id"`
	Publisher    string `json:"publisher,omitempty"`
	Subscription string `json:"subscription,omitempty"`
	Reason       string `json:"reason"`
	Error        string `json:"error"`
	Hint         string `json:"hint,omitempty"`
	Attempts     int    `json:"attempts"`
}

// recordShown is how far a command came, by its ledger record.
type recordShown struct {
	State string `json:"state"`
	Step  string `json:"step,omitempty"`
	Item  string `json:"item,omitempty"`
	// Looked counts the looks for the effect that did not find it.
	Looked int `json:"looked,omitempty"`
}

// itemLetter is what only the letter of an item tells.
type itemLetter struct {
	Mailbox     string            `json:"mailbox"`
	DiedAt      time.Time         `json:"died_at"`
	Headers     map[string]string `json:"headers"`
	Data        json.RawMessage   `json:"data"`
	DataBase64  []byte            `json:"data_base64"`
	DataOmitted int               `json:"data_omitted"`
}

func readLetter(names jet.Names, d jet.DeadLetter) deadLetter {
	l := deadLetter{Sequence: d.Sequence, Kind: kindItem, Subject: d.Subject, Stored: d.Time, Letter: d.Data}
	if strings.HasPrefix(d.Subject, deadRoot(names)+kindCommand+".") {
		l.Kind = kindCommand
	}
	if l.bad = json.Unmarshal(d.Data, &l.letterHead); l.bad != nil {
		l.Error = "the dead letter is not readable: " + l.bad.Error()
		l.Letter, _ = json.Marshal(string(d.Data)) // a string always becomes JSON
		return l
	}
	if l.Kind == kindItem {
		l.Mailbox = l.item().Mailbox
		return l
	}
	if l.command, l.bad = publisher.ReadLetter(d.Data); l.bad != nil {
		l.Error = l.bad.Error()
		return l
	}
	l.Mailbox, l.Outcome = l.command.Outcome.Mailbox, l.command.Outcome.Outcome
	return l
}

// item reads the letter of an item.
func (l *deadLetter) item() (it itemLetter) {
	_ = json.Unmarshal(l.Letter, &it) // readLetter has seen that it is one
	return it
}

// from says where it comes from, for people.
func (l *deadLetter) from() string {
	if l.Kind == kindItem {
		return "subscription " + orDash(l.Subscription)
	}
	return "publisher " + orDash(l.Publisher)
}

// uncertain reports whether it is a command that may have had its effect.
func (l *deadLetter) uncertain() bool { return l.Outcome == "uncertain" }

func deadRoot(names jet.Names) string { return strings.TrimSuffix(names.Dead(), ">") }
