// Package xform runs small jq programs over JSON values: the transforms and
// filters of the configuration.
//
// It promises that a program ends soon and in little memory, whatever it is and
// whatever it is given, and that it sees nothing but its input: no environment,
// no files, no further inputs. What to do with a result, and with a message
// whose program failed, is left to others.
//
// # Limits
//
// A wall clock alone does not hold a jq program: gojq looks at the clock between
// its instructions, and a single instruction can run for minutes or ask for all
// memory ("a" * 1e9, .[5e8] = 1, tojson of a value that holds itself a billion
// times over). So a program is watched in three ways:
//
//   - Every instruction counts, and after [Limits.Steps] of them the program is
//     stopped. The same program on the same input always ends the same way,
//     also on a machine that is busy with other things.
//   - Before an operator or a function that works on whole values is run, its
//     cost in bytes is reckoned and charged; at [Limits.Work] the program is
//     stopped and the operation does not happen. Compile puts these checks into
//     the program (rewrite.go and guard.go say where).
//   - [Limits.Time] is the deadline behind them, for what they do not see.
//
// What remains: regular expressions are linear (RE2), but their compilation and
// a test over a text of the largest size are single instructions of up to some
// ten milliseconds. Nothing here bounds what the decoding of the input costs
// before the program starts, which is why its size is bounded.
package xform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/itchyny/gojq"

	"outlook-connector/internal/fault"
)

// Limits bounds a program. The zero value of a field means its default.
type Limits struct {
	// Input is the largest input in bytes of JSON. Default 8 MiB.
	Input int
	// Output is the largest output in bytes of JSON. Default 8 MiB.
	Output int
	// Steps is the number of jq instructions. Default 1,000,000, which take 10
	// to 100 ms; a mapping of a mail takes some hundred.
	Steps int
	// Work is the number of bytes that operators and functions may read and
	// write in all. Default 48 MiB.
	Work int
	// Time is the deadline by the wall clock. Default 500 ms. It is well above
	// what Steps and Work allow on an idle machine, so that a busy one does not
	// make a good message look bad.
	Time time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Input = orDefault(l.Input, 8<<20)
	l.Output = orDefault(l.Output, 8<<20)
	l.Steps = orDefault(l.Steps, 1_000_000)
	l.Work = orDefault(l.Work, 48<<20)
	l.Time = orDefault(l.Time, 500*time.Millisecond)
	return l
}

func orDefault[T int | time.Duration](value, usual T) T {
	if value <= 0 {
		return usual
	}
	return value
}

// Program is a compiled jq program. It is safe for concurrent use.
type Program struct {
	code   *gojq.Code
	limits Limits
}

// Compile reads a program that will run within the default [Limits]. A mistake
// in it is a *[SyntaxError].
func Compile(src string) (*Program, error) { return Limits{}.Compile(src) }

// Run gives the program one value and returns its result. ok is false, without
// an error, where the program has no result (`empty`); more than one result is
// an error.
//
// The input is a plain JSON value: nil, bool, string, a number (int, float64,
// *big.Int or json.Number), []any or map[string]any. It is not changed. The
// result is made of the same types, may share parts with the input, and has no
// NaN or infinity in it (they become null and the largest number, as in jq).
// A json.Number that the program only passes on keeps its digits.
//
// Every error is of kind Poison, since the same message would fail again, with
// a code: transform_failed (the program says so), transform_results,
// transform_limit, transform_input, transform_output, transform_panic. Only
// where ctx ends first its cause is returned, unmarked.
func (p *Program) Run(ctx context.Context, input any) (out any, ok bool, err error) {
	if cost, err := weigh(input, p.limits.Input); err != nil {
		return nil, false, fail("transform_input", "input: %w", err)
	} else if cost > p.limits.Input {
		return nil, false, fail("transform_input", "input: more than %d bytes", p.limits.Input)
	}
	out, ok, err = p.run(ctx, input)
	if err != nil || !ok {
		return nil, false, err
	}
	size, err := weigh(out, p.limits.Output)
	switch {
	case err != nil:
		return nil, false, fail("transform_output", "result: %w", err)
	case size > p.limits.Output:
		return nil, false, fail("transform_output", "result: more than %d bytes", p.limits.Output)
	}
	return plain(out), true, nil
}

// RunJSON is [Program.Run] from JSON text to JSON text. Numbers that are only
// passed on keep their digits; members come out sorted by name, without
// insignificant space. Of members of the same name the last counts, and invalid
// UTF-8 becomes U+FFFD, as in encoding/json.
func (p *Program) RunJSON(ctx context.Context, input []byte) (out []byte, ok bool, err error) {
	if len(input) > p.limits.Input {
		return nil, false, fail("transform_input", "input: %d bytes, the limit is %d", len(input), p.limits.Input)
	}
	value, err := decode(input)
	if err != nil {
		return nil, false, fail("transform_input", "input: %w", err)
	}
	value, ok, err = p.Run(ctx, value)
	if err != nil || !ok {
		return nil, false, err
	}
	out, err = gojq.Marshal(value)
	if err != nil {
		return nil, false, fail("transform_output", "result: %w", err)
	}
	if len(out) > p.limits.Output {
		return nil, false, fail("transform_output", "result: %d bytes, the limit is %d", len(out), p.limits.Output)
	}
	return out, true, nil
}

// decode reads exactly one JSON value and keeps the digits of its numbers.
func decode(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode: more than one value")
	}
	return value, nil
}

// run executes the program and takes its only result.
func (p *Program) run(ctx context.Context, input any) (out any, ok bool, err error) {
	// gojq panics on types that are no JSON, and a defect in it must cost one
	// message and not the process.
	defer func() {
		if r := recover(); r != nil {
			out, ok, err = nil, false, fail("transform_panic", "the program broke its interpreter: %v", r)
		}
	}()
	timed, cancel := context.WithTimeout(ctx, p.limits.Time)
	defer cancel()
	watch := newBudget(timed, p.limits)
	iter := p.code.RunWithContext(watch, input, watch) //nolint:contextcheck // watch wraps ctx, which the linter does not see
	out, ok = iter.Next()
	if !ok {
		return nil, false, nil
	}
	if err := p.verdict(ctx, watch, out); err != nil {
		return nil, false, err
	}
	// The rest of the program runs as well: it might fail, or not end.
	if more, again := iter.Next(); again {
		if err := p.verdict(ctx, watch, more); err != nil {
			return nil, false, err
		}
		return nil, false, fail("transform_results", "the program gave more than one result; collect them in [ ] or take first( )")
	}
	return out, true, nil
}

// verdict tells an error among the program's results apart: nil for a value.
func (p *Program) verdict(ctx context.Context, watch *budget, result any) error {
	err, bad := result.(error)
	switch {
	case !bad:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("transform: %w", context.Cause(ctx))
	case watch.broke != nil:
		return fail("transform_limit", "%w", watch.broke)
	case errors.Is(err, context.DeadlineExceeded):
		return fail("transform_limit", "not done after %s", p.limits.Time)
	default:
		return fail("transform_failed", "%s", explain(err))
	}
}

// explain words an error of the program. The text of error(value) is built here
// since gojq would write out the whole value, however large.
func explain(err error) string {
	const most = 500
	var text string
	if thrown, ok := errors.AsType[gojq.ValueError](err); ok {
		if text, ok = thrown.Value().(string); !ok {
			text = gojq.Preview(thrown.Value())
		}
	} else {
		text = err.Error()
	}
	if len(text) > most {
		text = string(bytes.ToValidUTF8([]byte(text[:most]), nil)) + "…"
	}
	return text
}

func fail(code, format string, args ...any) *fault.Error {
	return fault.New(fault.Poison, "transform: "+format, args...).WithCode(code)
}
