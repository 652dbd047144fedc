package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration file.
type Problem struct {
	// File is the name of the file as it was given to Load.
	File string `json:"file"`
	// Line and Column say where, both from 1, the column in characters. Both are
	// zero where there is no place, as for a file that does not exist.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path is the key that the problem is about: subscriptions[0].every. It may
	// be empty.
	Path string `json:"path,omitempty"`
	// Text says what is wrong. It never contains what a ${…} stands for.
	Text string `json:"text"`
	// Excerpt is a line of a jq program and, below it, a caret at the mistake. It
	// is empty for other problems.
	Excerpt string `json:"excerpt,omitempty"`
	// Hint says what to do.
	Hint string `json:"hint"`

	cause error
}

// Place returns "file:line:column", or "file" where there is no place in it.
func (p Problem) Place() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// String returns "file:line:column: text", then the excerpt and "Try: " with
// the hint on lines of their own, without a line break at the end.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Place() + ": " + p.Text)
	for line := range strings.Lines(p.Excerpt) {
		b.WriteString("\n        " + strings.TrimSuffix(line, "\n"))
	}
	if p.Hint != "" {
		b.WriteString("\n    Try: " + p.Hint)
	}
	return b.String()
}

// Problems are all mistakes of a file, sorted by their place. It is the error
// of [Load] and [Parse].
type Problems []Problem //nolint:errname // it is a list of problems before it is an error

// Error returns all problems, each as Problem.String has it.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the causes of the problems that have one, so that errors.Is
// finds fs.ErrNotExist behind a missing file.
func (ps Problems) Unwrap() []error {
	var causes []error
	for _, p := range ps {
		if p.cause != nil {
			causes = append(causes, p.cause)
		}
	}
	return causes
}

// maxProblems is how many problems are reported. A file of a megabyte can hold
// half a million mistakes, and nobody reads the second hundred.
const maxProblems = 100

// sorted returns the problems by place, those of one place in the order in
// which they were found, without repetitions: a value that is used through an
// alias would tell its problem again.
func (ps Problems) sorted() Problems {
	out := slices.Clone(ps)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	out = slices.CompactFunc(out, func(a, b Problem) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Text == b.Text
	})
	if len(out) > maxProblems {
		rest := len(out) - maxProblems
		out = out[:maxProblems]
		out = append(out, Problem{
			File: out[0].File, Text: fmt.Sprintf("%d more problems", rest), Hint: "mend these first",
		})
	}
	return out
}
