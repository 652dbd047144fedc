package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// mayTwiceFlag is what a person says who has looked.
const mayTwiceFlag = "yes-it-may-happen-twice"

type redriveFlags struct {
	filter           letterFilter
	all, yes, dryRun bool
	mayTwice, wait   bool
	timeout          time.Duration
	set, header      []string
}

func (a *app) dlqRedriveCommand() *cobra.Command {
	var f redriveFlags
	cmd := &cobra.Command{
		Use:   "redrive ID… | --all",
		Short: "Send dead commands again, changed where need be",
		Long: `Sends the command of each dead letter again on the subject where it was, and
removes the letter. The new command has the key <id>/r1, its redrive <id>/r2 and
so on. A letter is removed only once the queue has its command; interrupt it at
any point and run it again: nothing is lost, and nothing is sent twice.

--set changes the message first. It takes a JSON file (or - for standard input)
with the members to change, null to remove one (RFC 7396), or one member as
path.to.member=value. It may be repeated; --dry-run shows what would be sent.

A command whose outcome is uncertain may have had its effect. It is sent again
only with --` + mayTwiceFlag + `: look first. A publisher with delivery
exactly_once looks as well, unless --set changes the message: what is there by
then ends as done and is not done again.

Items of Outlook that could not become events cannot be sent again.`,
		Example: `  outlook-connector dlq redrive 7
  outlook-connector dlq redrive 7 --set payload.message.subject=Hello --dry-run
  outlook-connector dlq redrive 7 --set changes.json --wait
  outlook-connector dlq redrive --all --publisher send-mail --reason gave_up`,
		ValidArgsFunction: a.completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkChoice(cmd, args, f.all, &f.filter); err != nil {
				return err
			}
			changes, err := a.readEdit(f.set, f.header)
			if err != nil {
				return err
			}
			return a.withNATS(cmd.Context(), func(c *config.Config, conn *jet.Conn) error {
				r := &redriver{
					letters: conn.DeadLetters(), queue: conn.Commands(), ledger: conn.Ledger(), names: conn.Names(), now: time.Now,
					publishers: publisherNames(c), edit: changes, mayTwice: f.mayTwice,
				}
				return a.redrive(cmd.Context(), conn, r, args, &f)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "all dead commands, or those that the filters choose")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before --all")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what would be sent, and what --set changes")
	flags.BoolVar(&f.mayTwice, mayTwiceFlag, false, "also commands whose outcome is uncertain: their effect may be there already")
	flags.StringArrayVar(&f.set, "set", nil, "change the message: a JSON `FILE`, - for standard input, or path.to.member=value")
	flags.StringArrayVar(&f.header, "header", nil, "change a header of the message: `NAME=VALUE`, or NAME= to remove it")
	flags.BoolVar(&f.wait, "wait", false, "wait for the outcome of each and print it")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "how long --wait waits for each")
	f.filter.register(a, cmd, 0, "with --all: at most this many; 0 means all")
	for _, name := range []string{"header", "timeout"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func (a *app) redrive(ctx context.Context, conn *jet.Conn, r *redriver, args []string, f *redriveFlags) error {
	b := newBox(conn)
	if f.all && f.filter.kind == "" {
		f.filter.kind = kindCommand
	}
	found, err := a.choose(ctx, b, args, f.all, &f.filter)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.workThrough(ctx, b, found, work{
			done: "can be sent again",
			one: func(_ context.Context, l *deadLetter) (worked, error) {
				p, err := r.prepare(l)
				if err != nil {
					return worked{}, err
				}
				return worked{
					value: redriven{Letter: l.Sequence, ID: l.ID, Key: p.Key(), ResultID: p.ResultID(), Subject: l.command.Subject, Changes: p.changes},
					line:  fmt.Sprintf("would send %d to %s as %s", l.Sequence, l.command.Subject, p.Key()) + indented(p.changes),
				}, nil
			},
		})
	}
	if f.all && !f.yes && found.len() > 0 && a.onTerminal() {
		if err := a.ask(fmt.Sprintf("Send %s again?", count(found.len(), "command"))); err != nil {
			return err
		}
	}
	return a.workThrough(ctx, b, found, work{
		done: "sent again", again: "nothing is lost: run the same again",
		one: func(ctx context.Context, l *deadLetter) (worked, error) {
			done, err := r.redrive(ctx, l)
			if err != nil {
				return worked{}, err
			}
			line := fmt.Sprintf("redriven %d to %s as %s, outcome on %s", done.Letter, done.Subject, done.Key, resultSubject(conn, done.ResultID))
			if done.SentBefore {
				line = fmt.Sprintf("not sent again: %d went out before as %s (%s); the letter is removed", done.Letter, done.Key, orDash(done.State))
			}
			w := worked{value: &done, line: line + indented(done.Changes)}
			if f.wait {
				var end string
				done.Outcome, end, w.failure = waitOutcome(ctx, conn, done.ResultID, f.timeout)
				w.line += end
			}
			return w, nil
		},
	})
}

// waitOutcome waits for the outcome of a command that was sent again. The
// failure is that of the command, or that none came in time.
func waitOutcome(ctx context.Context, conn *jet.Conn, id string, timeout time.Duration) (outcome json.RawMessage, line string, failure error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stored, err := conn.Results().Wait(ctx, id)
	if err != nil {
		return nil, "", fault.New(fault.Retry, "no outcome of %s within %s; it stays queued: %w", id, timeout, err).WithHint("outlook-connector status")
	}
	var o publisher.Outcome
	if err := json.Unmarshal(stored.Data, &o); err != nil {
		return nil, "", fmt.Errorf("outcome of %s: %w", id, err)
	}
	if o.Error != nil {
		failure = fault.New(fault.Poison, "%s: %s", o.Outcome, o.Error.Message).WithHint("%s", o.Error.Hint)
	}
	return stored.Data, "\n  " + outcomeLine(o), failure
}

func resultSubject(conn *jet.Conn, id string) string {
	subject, err := conn.Names().Result(id)
	if err != nil {
		return id
	}
	return subject
}

func indented(lines []string) (text string) {
	for _, line := range lines {
		text += "\n  " + line
	}
	return text
}

// work is what is done with each of the chosen letters.
type work struct {
	// done says in the past tense what was done with those that were.
	done string
	// again is what a person can do where NATS fails half-way.
	again string
	// one works on a letter. A *leftError leaves that letter alone; any other error
	// stops the work.
	one func(ctx context.Context, l *deadLetter) (worked, error)
	// last is called after the letter was printed for programs, and before it is
	// told to people; nil: nothing. Its error stops the work.
	last func(ctx context.Context, l *deadLetter) error
}

// worked is what became of a letter.
type worked struct {
	value   any    // for programs
	line    string // for people
	failure error  // it was done, to no good
}

// progress is how far a work has come.
type progress struct {
	done, left, failed, printed int

	last error // of the letters that were left or failed
}

// workThrough works on the letters one by one, tells of each, and says how far
// it came where it had to stop.
func (a *app) workThrough(ctx context.Context, b box, found letterChoice, w work) error {
	var p progress
	several := found.all || found.len() > 1
	err := found.each(ctx, b, func(l *deadLetter) error {
		failure, err := a.workOn(ctx, l, w, &p)
		if failure != nil {
			p.last = failure
			if several {
				a.complain(failure)
			}
		}
		return err
	})
	if a.output == "json" {
		err = firstError(err, a.printArrayEnd(p.printed))
	}
	switch {
	case err != nil && several:
		return fault.New(fault.KindOf(err), "%d of %s %s, then: %w", p.done, count(found.len(), "dead letter"), w.done, err).WithHint("%s", cmp.Or(w.again, fault.HintOf(err)))
	case err != nil:
		return err
	case p.last != nil && !several:
		return p.last
	case p.last != nil:
		return p.summary(w.done)
	case found.all && a.output != "json":
		_, err = fmt.Fprintf(a.out, "%s %s\n", count(p.done, "dead letter"), w.done)
	}
	return err
}

// workOn works on one letter. A failure is that letter's, an error everybody's.
func (a *app) workOn(ctx context.Context, l *deadLetter, w work, p *progress) (failure, err error) {
	did, err := w.one(ctx, l)
	if skipped, ok := errors.AsType[*leftError](err); ok {
		p.left++
		return skipped, nil
	}
	if err != nil {
		return nil, err
	}
	if a.output == "json" {
		p.printed++
		if err := a.printElement(p.printed, did.value); err != nil {
			return nil, err
		}
	}
	if w.last != nil {
		if err := w.last(ctx, l); err != nil {
			return nil, err
		}
	}
	p.done++
	if did.failure != nil {
		p.failed++
	}
	if a.output != "json" {
		if _, err := fmt.Fprintln(a.out, did.line); err != nil {
			return nil, err
		}
	}
	return did.failure, nil
}

func (p *progress) summary(done string) error {
	text := count(p.done, "dead letter") + " " + done
	if p.left > 0 {
		text += fmt.Sprintf(", %d left as they were", p.left)
	}
	if p.failed > 0 {
		text += fmt.Sprintf(", %d of them without success", p.failed)
	}
	return fault.New(fault.Poison, "%s", text).WithHint("%s", fault.HintOf(p.last))
}

// onTerminal reports whether there is a person to ask.
func (a *app) onTerminal() bool {
	terminal, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(terminal.Fd()))
}

// ask asks a person; anything but yes is an error.
func (a *app) ask(question string) error {
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	yes, err := a.answer()
	if err == nil && !yes {
		err = fault.New(fault.Fatal, "nothing was done")
	}
	return err
}
