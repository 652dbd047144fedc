package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/subscriber"
)

func (a *app) feedsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "feeds",
		Short: "See and steer what is polled: each subscription, mailbox and folder",
		Long: `A feed is one folder (or calendar, or list) of one mailbox of one subscription.
It is polled by one worker at a time and goes on from its cursor. What is set
here is kept in NATS and holds for every worker, whichever runs now or later.`,
		Example: "  outlook-connector feeds list\n  outlook-connector feeds pause inbox ann@contoso.com",
		Args:    onlySubcommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.feedsListCommand(), a.feedsResyncCommand(), a.feedsPauseCommand(), a.feedsResumeCommand())
	return cmd
}

func (a *app) feedsListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list [SUBSCRIPTION [MAILBOX]]",
		Short: "List feeds: cursor, last and next poll, lag and last error",
		Long: `Lists the feeds that are registered in NATS with where each stands. Polls, lag
and errors are as the worker at http.listen knows them; of polls by other
workers it knows nothing, so run it next to each. A cursor's age is the time
since it was written: a feed to which nothing comes writes it every five minutes.`,
		Example: `  outlook-connector feeds list
  outlook-connector feeds list inbox ann@contoso.com
  outlook-connector feeds list --output json | jq '.[] | select(.error)'`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeSubscription,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withFeeds(cmd.Context(), args, func(c *config.Config, conn *jet.Conn, found []feedRow) error {
				if err := a.describeFeeds(cmd.Context(), c, conn, found); err != nil {
					return err
				}
				return a.printFeeds(found)
			})
		},
	}
}

func (a *app) feedsResyncCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resync SUBSCRIPTION [MAILBOX]",
		Short: "Read feeds anew and tell what differs from what they have told",
		Long: `Asks for one full read of the feeds of a subscription, or of one mailbox of it,
now. It tells what differs from what the feed has told: changes that were
missed, and deletions. Nothing that was told is told again. A paused feed does
it once it is resumed.`,
		Example:           "  outlook-connector feeds resync inbox\n  outlook-connector feeds resync inbox ann@contoso.com",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSubscription,
		RunE: func(cmd *cobra.Command, args []string) error {
			id := time.Now().UTC().Format(time.RFC3339Nano)
			return a.changeFeeds(cmd.Context(), args, "full read asked for", func(data []byte) ([]byte, error) {
				return subscriber.AskResync(data, id)
			})
		},
	}
}

func (a *app) feedsPauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pause SUBSCRIPTION [MAILBOX]",
		Short: "Stop polling feeds until they are resumed",
		Long: `Stops the polls of a subscription's feeds, or of one mailbox of it, in all
workers, also in those that start later. A poll under way comes to its end. The
cursor stays, so nothing is lost where the feed is resumed while Graph still
knows the cursor (about a week for mail); after that it is read anew.`,
		Example:           "  outlook-connector feeds pause inbox\n  outlook-connector feeds pause inbox ann@contoso.com",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSubscription,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeFeeds(cmd.Context(), args, resultPaused, func(data []byte) ([]byte, error) {
				return subscriber.SetPaused(data, true)
			})
		},
	}
}

func (a *app) feedsResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "resume SUBSCRIPTION [MAILBOX]",
		Short:             "Poll paused feeds again, at once",
		Example:           "  outlook-connector feeds resume inbox\n  outlook-connector feeds resume inbox ann@contoso.com",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSubscription,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeFeeds(cmd.Context(), args, "resumed", func(data []byte) ([]byte, error) {
				return subscriber.SetPaused(data, false)
			})
		},
	}
}

// completeSubscription offers the subscriptions of the configuration, and then
// the mailboxes that it names.
func (a *app) completeSubscription(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.loadConfig()
	switch {
	case err != nil || len(args) > 1:
		return nil, cobra.ShellCompDirectiveNoFileComp
	case len(args) == 0:
		return subscriptionNames(c), cobra.ShellCompDirectiveNoFileComp
	}
	for i := range c.Subscriptions {
		if c.Subscriptions[i].Name == args[0] {
			return c.Subscriptions[i].Mailboxes.List, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// feedChoice is which feeds are meant: all, those of a subscription, or those of
// a mailbox of it.
type feedChoice struct{ subscription, mailbox string }

// chooseFeeds reads the arguments. A mailbox is compared as it stands in
// subjects.
func chooseFeeds(args []string) (choice feedChoice, err error) {
	if len(args) > 0 {
		choice.subscription = args[0]
		if _, err := (jet.Names{}).Events(args[0], ""); err != nil || args[0] == "" {
			return choice, usageHint(fmt.Errorf("%q is not the name of a subscription", args[0]), "outlook-connector feeds list")
		}
	}
	if len(args) > 1 {
		if choice.mailbox, err = jet.Mailbox(args[1]); err != nil {
			return choice, usageHint(err, "outlook-connector feeds list %s", args[0])
		}
	}
	return choice, nil
}

// none is the error where nothing fits.
func (f feedChoice) none(c *config.Config) error {
	names := subscriptionNames(c)
	switch {
	case !slices.Contains(names, f.subscription):
		return unknownName("subscription", f.subscription, names)
	case f.mailbox != "":
		return usageHint(fmt.Errorf("subscription %s has no feed of mailbox %s", f.subscription, f.mailbox), "outlook-connector feeds list %s", f.subscription)
	default:
		return fault.New(fault.Fatal, "subscription %s has no feed yet", f.subscription).
			WithHint("start a worker, which registers its feeds: outlook-connector run")
	}
}

// withFeeds finds the feeds that the arguments name. None is an error where they
// name any.
func (a *app) withFeeds(ctx context.Context, args []string, f func(c *config.Config, conn *jet.Conn, found []feedRow) error) error {
	choice, err := chooseFeeds(args)
	if err != nil {
		return err
	}
	return a.withNATS(ctx, func(c *config.Config, conn *jet.Conn) error {
		var found []feedRow
		err := conn.Feeds().Each(ctx, choice.subscription, func(feed jet.Feed) bool {
			if row, ok := newFeedRow(conn.Names(), feed); ok && (choice.mailbox == "" || row.Mailbox == choice.mailbox) {
				found = append(found, row)
			}
			return true
		})
		if err != nil {
			return err
		}
		if len(found) == 0 && choice.subscription != "" {
			return choice.none(c)
		}
		slices.SortFunc(found, compareRows)
		return f(c, conn, found)
	})
}

// changesAtOnce is how many feeds are changed at the same time: each waits for
// the server's disk.
const changesAtOnce = 16

// changeFeeds changes the data of the feeds that the arguments name, and prints
// what was done. A feed that goes away meanwhile is no error.
func (a *app) changeFeeds(ctx context.Context, args []string, done string, change func(data []byte) ([]byte, error)) error {
	return a.withFeeds(ctx, args, func(_ *config.Config, conn *jet.Conn, found []feedRow) error {
		group, inner := errgroup.WithContext(ctx)
		group.SetLimit(changesAtOnce)
		for i := range found {
			row := &found[i]
			group.Go(func() error {
				err := conn.Feeds().Update(inner, row.subject, func(data []byte) ([]byte, error) {
					changed, err := change(data)
					if err == nil {
						row.read(changed)
					}
					return changed, err
				})
				row.gone = errors.Is(err, jet.ErrNotFound)
				if err != nil && !row.gone {
					return fmt.Errorf("%s: %w", row.name(), err)
				}
				row.changed = !row.gone
				return nil
			})
		}
		err := group.Wait()
		left := len(found)
		found = slices.DeleteFunc(found, func(row feedRow) bool { return !row.changed })
		if err != nil {
			return fmt.Errorf("%d of %s done: %w", len(found), count(left, "feed"), err)
		}
		return a.printChanged(found, done)
	})
}
