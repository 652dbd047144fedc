package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// minPrefix is the fewest characters of an id that stand for the whole.
const minPrefix = 4

// maxCandidates bounds how many letters of one id are looked at.
const maxCandidates = 50

// box is the dead letters as the commands use them.
type box struct {
	letters *jet.DeadLetters
	names   jet.Names
}

func newBox(conn *jet.Conn) box { return box{conn.DeadLetters(), conn.Names()} }

// get returns the letter with a number.
func (b box) get(ctx context.Context, sequence uint64) (deadLetter, error) {
	d, err := b.letters.Get(ctx, sequence)
	if err != nil {
		return deadLetter{}, err
	}
	return readLetter(b.names, d), nil
}

// ambiguousError says that a name stands for several letters.
type ambiguousError struct {
	name  string
	found []deadLetter
	more  bool
}

func (e *ambiguousError) Error() string {
	n := fmt.Sprint(len(e.found))
	if e.more {
		n = "more than " + n
	}
	return fmt.Sprintf("%q stands for %s dead letters", e.name, n)
}

// find returns the letter with a name: its number, its command's id, or the
// beginning of that.
func (b box) find(ctx context.Context, name string) (deadLetter, error) {
	number, err := strconv.ParseUint(name, 10, 64)
	numeric := err == nil
	if numeric {
		l, err := b.get(ctx, number)
		if !errors.Is(err, jet.ErrNotFound) {
			return l, err
		}
	}
	exact, begins, err := b.search(ctx, name)
	if err != nil {
		return deadLetter{}, err
	}
	found := exact
	// A number is never the beginning of an id: it may be that of a letter that
	// has just gone.
	if len(found) == 0 && !numeric && len(name) >= minPrefix {
		found = begins
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return deadLetter{}, &usageError{&ambiguousError{name: name, found: found, more: len(found) >= maxCandidates}}
	case numeric:
		return deadLetter{}, fault.New(fault.Poison, "dead letter %d: %w", number, jet.ErrNotFound).WithHint("see the numbers with: outlook-connector dlq list")
	default:
		return deadLetter{}, fault.New(fault.Poison, "dead letter %q: %w", name, jet.ErrNotFound).
			WithHint("see numbers and ids with: outlook-connector dlq list. A letter is gone once it was redriven, discarded or resolved")
	}
}

// search looks for letters whose command has an id, or one that begins so. Only
// headers are read of those that cannot be it: a letter is stored under the
// name of its ledger record, in which its id stands.
func (b box) search(ctx context.Context, name string) (exact, begins []deadLetter, err error) {
	hashed := publisher.ResultID(name) // of a key that does not fit a subject
	var candidates []uint64
	err = b.letters.Each(ctx, jet.DeadQuery{HeadersOnly: true}, func(d jet.DeadLetter, _ uint64) bool {
		id := d.DedupeID()
		if rest, ok := strings.CutPrefix(d.Subject, deadRoot(b.names)+kindCommand+"."); ok {
			id = strings.TrimPrefix(strings.TrimPrefix(id, rest+"."), "-.")
		}
		if strings.HasPrefix(id, name) || strings.HasPrefix(id, hashed) {
			candidates = append(candidates, d.Sequence)
		}
		return len(candidates) < maxCandidates
	})
	for _, sequence := range candidates {
		if err != nil {
			return nil, nil, err
		}
		var l deadLetter
		l, err = b.get(ctx, sequence)
		switch {
		case errors.Is(err, jet.ErrNotFound):
			err = nil
		case err == nil && (l.ID == name || l.ID == hashed):
			exact = append(exact, l)
		case err == nil && strings.HasPrefix(l.ID, name):
			begins = append(begins, l)
		}
	}
	return exact, begins, err
}

// findAll returns the letters with the names, each once. Where a name stands
// for several, they are listed.
func (a *app) findAll(ctx context.Context, b box, names []string) ([]deadLetter, error) {
	found := make([]deadLetter, 0, len(names))
	for _, name := range names {
		l, err := b.find(ctx, name)
		if several, ok := errors.AsType[*ambiguousError](err); ok {
			if err := a.listAmbiguous(several); err != nil {
				return nil, err
			}
			return nil, usageHint(several, "give the number of the one that you mean")
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(o deadLetter) bool { return o.Sequence == l.Sequence }) {
			found = append(found, l)
		}
	}
	return found, nil
}

func (a *app) listAmbiguous(e *ambiguousError) error {
	w := tabwriter.NewWriter(a.err, 0, 0, 2, ' ', 0)
	letterColumns(w)
	for i := range e.found {
		letterRow(w, &e.found[i])
	}
	return w.Flush()
}

// checkNames refuses what is no name at all.
func checkNames(args []string) error {
	for _, name := range args {
		if strings.TrimSpace(name) == "" {
			return usageHint(errors.New("an empty text is no id of a dead letter"), "outlook-connector dlq list")
		}
	}
	return nil
}

// letterChoice is the letters that a command works on: those that were named, or the
// numbers of those that fit a filter.
type letterChoice struct {
	named   []deadLetter
	numbers []uint64
	all     bool
}

func (c letterChoice) len() int { return max(len(c.named), len(c.numbers)) }

// each calls f with each letter. One that has gone meanwhile is left out.
func (c letterChoice) each(ctx context.Context, b box, f func(l *deadLetter) error) error {
	for i := range c.named {
		if err := f(&c.named[i]); err != nil {
			return err
		}
	}
	for _, number := range c.numbers {
		l, err := b.get(ctx, number)
		if errors.Is(err, jet.ErrNotFound) {
			continue
		}
		if err == nil {
			err = f(&l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// choose finds the letters of a command line: names, or --all with a filter. Of
// the latter only the numbers are kept in memory.
func (a *app) choose(ctx context.Context, b box, args []string, all bool, f *letterFilter) (c letterChoice, err error) {
	if !all {
		c.named, err = a.findAll(ctx, b, args)
		return c, err
	}
	c.all = true
	_, err = f.each(ctx, b.letters, b.names, func(l *deadLetter) error {
		c.numbers = append(c.numbers, l.Sequence)
		return nil
	})
	return c, err
}

// checkChoice refuses names beside --all, neither of them, and filters without
// --all.
func checkChoice(cmd *cobra.Command, args []string, all bool, f *letterFilter) error {
	switch {
	case all && len(args) > 0:
		return usagef("give either ids or --all")
	case !all && len(args) == 0:
		return usagef("requires at least one id of a dead letter, or --all")
	}
	if !all {
		for _, name := range []string{"kind", "publisher", "subscription", "mailbox", "outcome", "reason", "since", "until", "limit"} {
			if cmd.Flags().Changed(name) {
				return usagef("--%s chooses among all dead letters: it needs --all", name)
			}
		}
	}
	if err := checkNames(args); err != nil {
		return err
	}
	return f.check()
}

// completePatience bounds how long a tab may take.
const completePatience = 2 * time.Second

// completeLetters offers the letters to the shell. Without a running process it
// offers nothing.
func (a *app) completeLetters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const most = 50
	ctx, cancel := context.WithTimeout(cmd.Context(), completePatience)
	defer cancel()
	var offers []string
	_ = a.withNATS(ctx, func(_ *config.Config, conn *jet.Conn) error { // no error in the middle of a line
		b := newBox(conn)
		_, err := (&letterFilter{limit: most}).each(ctx, b.letters, b.names, func(l *deadLetter) error {
			if number := strconv.FormatUint(l.Sequence, 10); !slices.Contains(args, number) {
				offers = append(offers, fmt.Sprintf("%s\t%s, %s: %s", number, l.from(), l.Reason, shorten(l.ID, 40)))
			}
			return nil
		})
		return err
	})
	return offers, cobra.ShellCompDirectiveNoFileComp
}
