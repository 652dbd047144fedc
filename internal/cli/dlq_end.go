package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

func (a *app) dlqDiscardCommand() *cobra.Command {
	var f letterFilter
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "discard ID… | --all",
		Short: "Remove dead letters for good",
		Long: `Removes dead letters with their messages. With --output json each letter is
printed whole before it is removed, so that the output can be kept.`,
		Example: `  outlook-connector dlq discard 7 8
  outlook-connector dlq discard --all --reason expired --output json --yes > expired.json
  outlook-connector dlq discard --all --subscription inbox --until 7d`,
		ValidArgsFunction: a.completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkChoice(cmd, args, all, &f); err != nil {
				return err
			}
			if all && !yes && !a.onTerminal() {
				return usageHint(errors.New("there is no terminal to ask whether all these letters may go"), "add --yes")
			}
			return a.withNATS(cmd.Context(), func(_ *config.Config, conn *jet.Conn) error {
				b := newBox(conn)
				found, err := a.choose(cmd.Context(), b, args, all, &f)
				if err != nil {
					return err
				}
				if !yes && found.len() > 0 && a.onTerminal() {
					if err := a.ask(fmt.Sprintf("Remove %s for good?", count(found.len(), "dead letter"))); err != nil {
						return err
					}
				}
				return a.discard(cmd.Context(), b, found)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "all dead letters, or those that the filters choose")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	f.register(a, cmd, 0, "with --all: at most this many; 0 means all")
	return cmd
}

// discard removes letters. Each is printed before it goes: what cannot be
// printed, to a full disk say, stays.
func (a *app) discard(ctx context.Context, b box, found letterChoice) error {
	return a.workThrough(ctx, b, found, work{
		done: "discarded", again: "Run the same again for the rest",
		one: func(_ context.Context, l *deadLetter) (worked, error) {
			return worked{
				value: l,
				line:  fmt.Sprintf("discarded %d: %s, %s, %s: %s", l.Sequence, l.from(), shorten(l.ID, 80), orDash(l.Reason), oneLine(l.Error, 100)),
			}, nil
		},
		last: func(ctx context.Context, l *deadLetter) error {
			if err := b.letters.Delete(ctx, l.Sequence); err != nil && !errors.Is(err, jet.ErrNotFound) {
				return err
			}
			return nil
		},
	})
}

func (a *app) dlqResolveCommand() *cobra.Command {
	var asDone bool
	var note string
	cmd := &cobra.Command{
		Use:   "resolve ID --as-done",
		Short: "Say of an uncertain command that its effect is there",
		Long: `For a command whose outcome is uncertain and whose effect you have found: tells
"done" on its result subject, with "resolved": true, writes it into the ledger,
so that the same key is never carried out again, and removes the letter.
Nothing is sent to Outlook.`,
		Example: `  outlook-connector dlq resolve 7 --as-done
  outlook-connector dlq resolve 7 --as-done --note "found it in Sent Items"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeOneLetter,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkNames(args); err != nil {
				return err
			}
			if !asDone {
				return usageHint(errors.New("say how it ended: --as-done"), "where the effect is not there: outlook-connector dlq redrive %s --%s", args[0], mayTwiceFlag)
			}
			return a.withNATS(cmd.Context(), func(_ *config.Config, conn *jet.Conn) error {
				found, err := a.findAll(cmd.Context(), newBox(conn), args)
				if err != nil {
					return err
				}
				r := resolver{letters: conn.DeadLetters(), ledger: conn.Ledger(), results: conn.Results()}
				outcome, err := r.resolve(cmd.Context(), &found[0], note, time.Now())
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.printJSON(outcome)
				}
				_, err = fmt.Fprintf(a.out, "resolved %d: %s is done, as told on %s\n", found[0].Sequence, outcome.ID, resultSubject(conn, outcome.ID))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asDone, "as-done", false, "the effect is there")
	cmd.Flags().StringVar(&note, "note", "", "what to write into the outcome, such as where it was found")
	_ = cmd.RegisterFlagCompletionFunc("note", cobra.NoFileCompletions)
	return cmd
}

// recordKeeper is the ledger as a resolve needs it.
type recordKeeper interface {
	recordReader
	Save(ctx context.Context, key string, record []byte, after uint64) (uint64, error)
}

// resultStore keeps outcomes.
type resultStore interface {
	Put(ctx context.Context, id string, header jet.Header, data []byte) error
}

// letterRemover removes letters.
type letterRemover interface {
	Delete(ctx context.Context, sequence uint64) error
}

// resolver ends uncertain commands as a person says.
type resolver struct {
	letters letterRemover
	ledger  recordKeeper
	results resultStore
}

// saveTries bounds how often a resolve begins anew because a worker wrote the
// record meanwhile.
const saveTries = 5

// resolve ends an uncertain command as done: ledger, then result, then the
// letter goes. What stops in between is done again by the next try.
func (r *resolver) resolve(ctx context.Context, l *deadLetter, note string, at time.Time) (publisher.Resolved, error) {
	switch {
	case l.bad != nil:
		return publisher.Resolved{}, fault.New(fault.Poison, "dead letter %d cannot be read: %w", l.Sequence, l.bad).WithHint("outlook-connector dlq show %d", l.Sequence)
	case l.Kind == kindItem:
		return publisher.Resolved{}, fault.New(fault.Poison, "dead letter %d is no command: there is no outcome to resolve", l.Sequence).
			WithHint("outlook-connector dlq discard %d removes it", l.Sequence)
	}
	outcome, err := l.command.ResolveAsDone(note, at)
	if err != nil {
		return publisher.Resolved{}, fault.New(fault.Poison, "dead letter %d: %w", l.Sequence, err).
			WithHint("outlook-connector dlq redrive %d sends it again, outlook-connector dlq discard %d removes it", l.Sequence, l.Sequence)
	}
	if err := r.record(ctx, l, outcome); err != nil {
		return publisher.Resolved{}, err
	}
	body, err := outcome.Encode()
	if err != nil {
		return publisher.Resolved{}, err
	}
	if err := r.results.Put(ctx, l.ID, jet.Header{"content-type": {"application/json"}}, body); err != nil {
		return publisher.Resolved{}, err
	}
	if err := r.letters.Delete(ctx, l.Sequence); err != nil && !errors.Is(err, jet.ErrNotFound) {
		return publisher.Resolved{}, fmt.Errorf("dead letter %d is resolved but could not be removed (resolving it once more only removes it): %w", l.Sequence, err)
	}
	return outcome, nil
}

// record writes into the ledger that the command is done. Without it, whoever
// publishes the key once more would be told "uncertain" again, and so would
// everybody else, on the same result subject.
func (r *resolver) record(ctx context.Context, l *deadLetter, outcome publisher.Resolved) error {
	for range saveTries {
		stored, sequence, err := r.ledger.Load(ctx, l.command.Key)
		if err != nil || stored == nil {
			return err // a record that is gone with its age is missed by nobody
		}
		next, changed, err := l.command.ResolveRecord(stored, outcome)
		switch {
		case errors.Is(err, publisher.ErrOtherRecord):
			return nil
		case l.Reason == "ledger_unreadable":
			return nil // that is why it is uncertain
		case err != nil:
			return fault.New(fault.Poison, "dead letter %d: %w", l.Sequence, err)
		case !changed:
			return nil
		}
		if _, err = r.ledger.Save(ctx, l.command.Key, next, sequence); !errors.Is(err, jet.ErrConflict) {
			return err
		}
	}
	return fault.New(fault.Retry, "dead letter %d: a worker writes its ledger record all the time", l.Sequence).WithHint("try again")
}

// answer reads a person's answer.
func (a *app) answer() (yes bool, err error) {
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	text := strings.ToLower(strings.TrimSpace(line))
	return text == "y" || text == "yes", nil
}
