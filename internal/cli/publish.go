package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

type publishFlags struct {
	mailbox, data, key string
	wait               bool
	timeout            time.Duration
}

func (a *app) publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish PUBLISHER",
		Short: "Send one message to a publisher",
		Long: `Publishes a JSON message on outlook.publish.PUBLISHER, as any NATS client can.
With --wait it prints what became of it, and fails where it failed.`,
		Example: `  outlook-connector publish send-mail --wait --data '{"payload": {"message": {
    "subject": "Hello", "body": {"content": "It works."},
    "toRecipients": [{"emailAddress": {"address": "ann@contoso.com"}}]}}}'
  outlook-connector publish send-mail --data @mail.json
  cat mail.json | outlook-connector publish send-mail --data @-`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePublishers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNATS(cmd.Context(), func(c *config.Config, conn *jet.Conn) error {
				return a.publish(cmd.Context(), c, conn, args[0], f)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.mailbox, "mailbox", "", "the mailbox to act on (default: the publisher's first)")
	flags.StringVar(&f.data, "data", "", "the message: JSON, @FILE, or @- for standard input (default: an empty object)")
	flags.StringVar(&f.key, "key", "", "idempotency key (Nats-Msg-Id): the same key is carried out once")
	flags.BoolVar(&f.wait, "wait", false, "wait for the outcome and print it")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "how long --wait waits")
	return cmd
}

// completePublishers offers the configured publishers to the shell.
func (a *app) completePublishers(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.loadConfig()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return publisherNames(c), cobra.ShellCompDirectiveNoFileComp
}

func publisherNames(c *config.Config) []string {
	names := make([]string, 0, len(c.Publishers))
	for _, p := range c.Publishers {
		names = append(names, p.Name)
	}
	return names
}

func (a *app) publish(ctx context.Context, c *config.Config, conn *jet.Conn, name string, f publishFlags) error {
	names := publisherNames(c)
	if !slices.Contains(names, name) {
		return unknownName("publisher", name, names)
	}
	body, err := a.readData(f.data)
	if err != nil {
		return err
	}
	if f.mailbox != "" {
		if body, err = withMailbox(body, f.mailbox); err != nil {
			return err
		}
	}
	subject, err := conn.Names().Publish(name)
	if err != nil {
		return err
	}
	header := jet.Header{}
	if f.key != "" {
		header["Nats-Msg-Id"] = []string{f.key}
	}
	published, err := conn.Commands().Publish(ctx, subject, header, body)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%s-%d", published.Stream, published.Sequence)
	if f.key != "" {
		id = publisher.ResultID(f.key)
	}
	if published.Duplicate {
		a.complain(fmt.Errorf("a message with the key %q was published within the last ten minutes: this one was dropped, "+
			"and the outcome is that of the earlier one", f.key))
	}
	if !f.wait {
		if a.output == "json" {
			return a.printJSON(map[string]any{"subject": subject, "stream": published.Stream, "sequence": published.Sequence, "id": id, "duplicate": published.Duplicate})
		}
		verb := "published"
		if published.Duplicate {
			verb = "not published again:"
		}
		_, err := fmt.Fprintf(a.out, "%s %s as %s\n", verb, subject, id)
		return err
	}
	return a.awaitOutcome(ctx, conn, id, f.timeout)
}

// awaitOutcome waits for a command's outcome, prints it, and fails where the
// command failed.
func (a *app) awaitOutcome(ctx context.Context, conn *jet.Conn, id string, timeout time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result, err := conn.Results().Wait(waiting, id)
	if err != nil {
		if waiting.Err() != nil && ctx.Err() == nil {
			return fault.New(fault.Retry, "no outcome of %s within %s; it stays queued", id, timeout).
				WithHint("outlook-connector status   (is a worker running, is access granted?)")
		}
		return err
	}
	var outcome publisher.Outcome
	if err := json.Unmarshal(result.Data, &outcome); err != nil {
		return fmt.Errorf("outcome of %s: %w", id, err)
	}
	if a.output == "json" {
		if err := a.printJSON(json.RawMessage(result.Data)); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.out, outcomeLine(outcome))
	}
	if outcome.Outcome == "done" {
		return nil
	}
	failure := fault.New(fault.Poison, "%s: %s", outcome.Outcome, id)
	if outcome.Error != nil {
		failure = fault.New(fault.Poison, "%s: %s", outcome.Outcome, outcome.Error.Message).WithHint("%s", outcome.Error.Hint)
	}
	return failure
}

// outcomeLine is an outcome in one line: "done 202 OUTLOOK_PUBLISH-1 …".
func outcomeLine(o publisher.Outcome) string {
	end := o.Outcome
	if o.Status != 0 {
		end += fmt.Sprintf(" %d", o.Status)
	}
	parts := []string{end, o.ID}
	if o.Entity != "" {
		parts = append(parts, o.Entity)
	}
	if o.ItemID != "" {
		parts = append(parts, "item "+shortItem(o.ItemID))
	}
	switch {
	case o.Found:
		parts = append(parts, "found in the mailbox after its answer was lost")
	case o.AlreadyGone:
		parts = append(parts, "was gone already")
	}
	if o.Weaker != "" {
		parts = append(parts, o.Weaker)
	}
	if o.RequestID != "" {
		parts = append(parts, "request-id "+o.RequestID)
	}
	return strings.Join(parts, "  ")
}

// shortItem is what tells the ids of a mailbox apart: they are long, begin alike,
// and are whole in --output json.
func shortItem(id string) string {
	const most, kept = 40, 12
	if len(id) <= most {
		return id
	}
	return "…" + id[len(id)-kept:]
}

// readData reads a --data or --payload value: JSON, @FILE or @-.
func (a *app) readData(value string) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case value == "":
		return []byte("{}"), nil
	case value == "@-":
		data, err = io.ReadAll(a.in)
	case strings.HasPrefix(value, "@"):
		data, err = os.ReadFile(value[1:])
	default:
		data = []byte(value)
	}
	if err != nil {
		return nil, usageHint(fmt.Errorf("read data: %w", err), "@FILE reads a file, @- standard input")
	}
	return data, nil
}

// withMailbox sets the message's mailbox.
func withMailbox(body []byte, mailbox string) ([]byte, error) {
	var message map[string]json.RawMessage
	err := json.Unmarshal(body, &message)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, usagef("--mailbox needs data that is a JSON object: %w", syntax)
	}
	if err != nil || message == nil { // another kind of value, or null
		return nil, usagef("--mailbox needs data that is a JSON object")
	}
	text, err := json.Marshal(mailbox)
	if err != nil {
		return nil, err
	}
	message["mailbox"] = text
	return json.Marshal(message)
}
