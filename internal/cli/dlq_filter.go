package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/jet"
)

// letterFilter says which dead letters are meant.
type letterFilter struct {
	kind, publisher, subscription string
	mailbox, outcome              string
	reasons                       []string
	since, until                  momentFlag
	limit                         int
}

func (f *letterFilter) register(a *app, cmd *cobra.Command, limit int, limitUse string) {
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "only publish (commands) or event (items of Outlook)")
	flags.StringVar(&f.publisher, "publisher", "", "only commands of this publisher")
	flags.StringVar(&f.subscription, "subscription", "", "only items of this subscription")
	flags.StringVar(&f.mailbox, "mailbox", "", "only of this mailbox")
	flags.StringVar(&f.outcome, "outcome", "", "only commands that ended as failed or uncertain")
	flags.StringSliceVar(&f.reasons, "reason", nil, "only with this `CODE`, as dlq list shows it; may be repeated")
	flags.Var(&f.since, "since", "only what died since then: a time ago (90m, 12h, 7d) or a date")
	flags.Var(&f.until, "until", "only what died before then, written as for --since")
	flags.IntVar(&f.limit, "limit", limit, limitUse)
	fixed := func(values ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	names := func(of func() []string) cobra.CompletionFunc {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return of(), cobra.ShellCompDirectiveNoFileComp
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("kind", fixed(kindCommand, kindItem))
	_ = cmd.RegisterFlagCompletionFunc("outcome", fixed("failed", "uncertain"))
	_ = cmd.RegisterFlagCompletionFunc("since", fixed("1h", "24h", "7d"))
	_ = cmd.RegisterFlagCompletionFunc("until", fixed("1h", "24h", "7d"))
	_ = cmd.RegisterFlagCompletionFunc("publisher", names(func() []string {
		if c, err := a.loadConfig(); err == nil {
			return publisherNames(c)
		}
		return nil
	}))
	_ = cmd.RegisterFlagCompletionFunc("subscription", names(func() []string {
		if c, err := a.loadConfig(); err == nil {
			return subscriptionNames(c)
		}
		return nil
	}))
	for _, name := range []string{"mailbox", "reason", "limit"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// check finds what is wrong with the flags without asking anybody, and fills in
// what follows from others.
func (f *letterFilter) check() error {
	switch {
	case f.kind != "" && f.kind != kindCommand && f.kind != kindItem:
		return usagef("--kind %q: use publish or event", f.kind)
	case f.outcome != "" && f.outcome != "failed" && f.outcome != "uncertain":
		return usagef("--outcome %q: use failed or uncertain", f.outcome)
	case f.publisher != "" && f.subscription != "":
		return usagef("--publisher and --subscription: a dead letter has one of them only")
	case f.limit < 0:
		return usagef("--limit %d: give a number of dead letters, or 0 for all", f.limit)
	case !f.since.IsZero() && !f.until.IsZero() && !f.since.Before(f.until.Time):
		return usagef("--since is not before --until")
	}
	names := jet.Names{}
	if _, err := names.DeadCommand(f.publisher); err != nil && f.publisher != "" {
		return usagef("--publisher %q is not the name of a publisher", f.publisher)
	}
	if _, err := names.DeadEvent(f.subscription, "-"); err != nil && f.subscription != "" {
		return usagef("--subscription %q is not the name of a subscription", f.subscription)
	}
	implied := map[string]bool{kindCommand: f.publisher != "" || f.outcome != "", kindItem: f.subscription != ""}
	for kind, is := range implied {
		if is && f.kind != "" && f.kind != kind || is && implied[kindCommand] && implied[kindItem] {
			return usagef("no dead letter can fit: --publisher and --outcome are of commands, --subscription is of items")
		}
		if is {
			f.kind = kind
		}
	}
	if f.mailbox != "" {
		mailbox, err := jet.Mailbox(f.mailbox)
		if err != nil {
			return usagef("--mailbox: %w", err)
		}
		f.mailbox = mailbox
	}
	return nil
}

// subject is the narrowest subject filter: what the server can leave out need
// not be read.
func (f *letterFilter) subject(names jet.Names) string {
	root := deadRoot(names)
	switch {
	case f.publisher != "":
		return root + kindCommand + "." + f.publisher
	case f.subscription != "" && f.mailbox != "":
		return root + kindItem + "." + f.subscription + "." + f.mailbox
	case f.subscription != "":
		return root + kindItem + "." + f.subscription + ".>"
	case f.kind != "":
		return root + f.kind + ".>"
	default:
		return names.Dead()
	}
}

// fits looks at what the subject does not tell.
func (f *letterFilter) fits(l *deadLetter) bool {
	return (f.mailbox == "" || strings.ToLower(l.Mailbox) == f.mailbox) &&
		(f.outcome == "" || l.Outcome == f.outcome) &&
		(len(f.reasons) == 0 || slices.Contains(f.reasons, l.Reason))
}

// each calls found with the letters that fit, up to the limit. left is how many
// were not looked at.
func (f *letterFilter) each(ctx context.Context, letters *jet.DeadLetters, names jet.Names, found func(l *deadLetter) error) (left uint64, err error) {
	n := 0
	query := jet.DeadQuery{Filter: f.subject(names), Since: f.since.Time}
	readErr := letters.Each(ctx, query, func(d jet.DeadLetter, behind uint64) bool {
		if !f.until.IsZero() && !d.Time.Before(f.until.Time) {
			return false
		}
		l := readLetter(names, d)
		if !f.fits(&l) {
			return true
		}
		if err = found(&l); err != nil {
			return false
		}
		n++
		if f.limit > 0 && n == f.limit {
			left = behind
			return false
		}
		return true
	})
	if err == nil {
		err = readErr
	}
	return left, err
}

// momentFlag is a flag that takes a moment: a time ago, or a date.
type momentFlag struct{ time.Time }

// Set implements [pflag.Value].
func (m *momentFlag) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			m.Time = time.Now().AddDate(0, 0, -int(n))
			return nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			m.Time = at
			return nil
		}
	}
	return fmt.Errorf("%q is neither a time ago (90m, 12h, 7d) nor a date such as 2026-01-31 or 2026-01-31T09:00:00Z", text)
}

// String implements [pflag.Value].
func (m *momentFlag) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}

// Type implements [pflag.Value].
func (m *momentFlag) Type() string { return "time" }
