package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func (a *app) listenCommand() *cobra.Command {
	var (
		mailbox string
		number  int
		since   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "listen [SUBSCRIPTION]",
		Short: "Print events as they arrive",
		Example: `  outlook-connector listen                      # every subscription
  outlook-connector listen inbox --since 1h
  outlook-connector listen inbox --mailbox ann@contoso.com --count 1 --output json`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			c, err := a.loadConfig()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return subscriptionNames(c), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			subscription := strings.Join(args, "")
			return a.withNATS(cmd.Context(), func(c *config.Config, conn *jet.Conn) error {
				if names := subscriptionNames(c); subscription != "" && !slices.Contains(names, subscription) {
					return unknownName("subscription", subscription, names)
				}
				filter, err := conn.Names().Events(subscription, mailbox)
				if err != nil {
					return &usageError{err}
				}
				var from time.Time
				if since > 0 {
					from = time.Now().Add(-since)
				}
				return a.listen(cmd.Context(), conn, filter, from, number)
			})
		},
	}
	cmd.Flags().StringVar(&mailbox, "mailbox", "", "only events of this mailbox")
	cmd.Flags().IntVar(&number, "count", 0, "end after this many events (default: never)")
	cmd.Flags().DurationVar(&since, "since", 0, "begin with events of this long ago, such as 1h (default: only new ones)")
	return cmd
}

func subscriptionNames(c *config.Config) []string {
	names := make([]string, 0, len(c.Subscriptions))
	for _, s := range c.Subscriptions {
		names = append(names, s.Name)
	}
	return names
}

func (a *app) listen(ctx context.Context, conn *jet.Conn, filter string, from time.Time, number int) error {
	if a.output == "text" {
		fmt.Fprintf(a.err, "listening on %s\n", filter)
	}
	seen := 0
	var failed error
	err := conn.Events(ctx, filter, from, func(e jet.Event) bool {
		if failed = a.printEvent(e); failed != nil {
			return false
		}
		seen++
		return number <= 0 || seen < number
	})
	if failed != nil {
		return failed
	}
	if fault.Stopped(ctx, err) {
		return nil // Ctrl-C is how listening ends, also while it begins
	}
	return err
}

// printEvent prints an event: a line for people, or one JSON object a line for
// programs.
func (a *app) printEvent(e jet.Event) error {
	if a.output == "json" {
		headers := make(map[string]string, len(e.Header))
		for name, values := range e.Header {
			headers[name] = strings.Join(values, ", ")
		}
		event := map[string]any{"subject": e.Subject, "sequence": e.Sequence, "time": e.Time, "headers": headers}
		if json.Valid(e.Data) {
			event["data"] = json.RawMessage(e.Data)
		} else {
			event["data_base64"] = e.Data
		}
		encoder := json.NewEncoder(a.out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(event)
	}
	_, err := fmt.Fprintln(a.out, eventLine(e))
	return err
}

// eventLine is an event in one line.
func eventLine(e jet.Event) string {
	header := func(name string) string { return strings.Join(e.Header[name], ", ") }
	var mail struct {
		Subject string
		From    struct{ EmailAddress struct{ Address string } }
	}
	line := fmt.Sprintf("%s  %s  %s", e.Time.Local().Format(time.TimeOnly), e.Subject, header("Outlook-Change"))
	if err := json.Unmarshal(e.Data, &mail); err == nil && (mail.Subject != "" || mail.From.EmailAddress.Address != "") {
		line += fmt.Sprintf("  %q", mail.Subject)
		if from := mail.From.EmailAddress.Address; from != "" {
			line += " from " + from
		}
		return line
	}
	if blob := header(jet.BlobHeader); blob != "" {
		return line + "  " + header("Outlook-Id") + "  body in " + blob
	}
	return line + "  " + header("Outlook-Id")
}
