package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Message is one stored message of the record, in the order of the stream.
type Message struct {
	// Chain is what the subject says.
	Chain string
	// Sequence is the message's in its stream, Time when it was stored.
	Sequence uint64
	Time     time.Time
	// Data are its lines.
	Data []byte
}

// Problem is something that cannot be in a record that nobody touched.
type Problem struct {
	// Chain is the chain that it is about; empty: the stream.
	Chain string `json:"chain,omitempty"`
	// Number is the row's, Sequence the message's; zero where there is none.
	Number   uint64 `json:"n,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	// Code is a stable word, Text a sentence.
	Code string `json:"code"`
	Text string `json:"text"`
}

// The codes of problems.
const (
	CodeUnreadable   = "unreadable"    // a line is no row, or does not fit its own hash
	CodeWrongSubject = "wrong_subject" // a row stands under another chain's subject
	CodeGap          = "gap"           // rows between two others are missing
	CodeOrder        = "order"         // a row comes twice, or after one with a higher number
	CodeLink         = "link"          // a row is not tied to the one before it
	CodeAfterEnd     = "after_end"     // a row stands behind the end of its chain
	CodeCount        = "count"         // the end counts other rows than there are
	CodeNoHead       = "no_head"       // the first rows are missing and cannot have been too old
	CodeLost         = "lost"          // a later chain tells of rows that are not there
	CodeMessages     = "messages"      // the stream lacks messages
	CodeAnchor       = "anchor"        // a head that was noted earlier is not there
)

// States of a chain.
const (
	// StateEnded has its end row: nothing is missing behind it.
	StateEnded = "ended"
	// StateOpen has none: its worker runs, or crashed, or rows were cut off.
	StateOpen = "open"
	// StateContinued was given up for another chain of the same worker, which
	// tells where this one ended.
	StateContinued = "continued"
)

// ChainReport is what is known of one chain.
type ChainReport struct {
	Head
	// First is the first number that is there: above 1 where the rows before it
	// were too old to be kept.
	First uint64 `json:"first"`
	State string `json:"state"`
	// Start is who wrote it; nil where that row is gone.
	Start *Start `json:"start,omitempty"`
}

// Report is what a check found.
type Report struct {
	Rows     uint64        `json:"rows"`
	Messages uint64        `json:"messages"`
	From     uint64        `json:"first_sequence"`
	To       uint64        `json:"last_sequence"`
	Chains   []ChainReport `json:"chains"`
	// Problems are the first of them; ProblemCount counts them all.
	Problems     []Problem `json:"problems"`
	ProblemCount int       `json:"problem_count"`
}

// maxProblems bounds how many problems are kept.
const maxProblems = 1000

// Verifier checks a record message by message. It keeps some hundred bytes for
// each chain and nothing for a row.
type Verifier struct {
	keep    time.Duration
	now     time.Time
	chains  map[string]*watched
	anchors map[string][]Head
	report  Report
}

// watched is what is known of a chain so far.
type watched struct {
	ChainReport
	ended  bool
	expect []Head // noted earlier, not met so far
}

// NewVerifier begins a check. keep is after how long the stream drops a message
// (zero: never), anchors are heads that were noted earlier.
func NewVerifier(keep time.Duration, now time.Time, anchors []Head) *Verifier {
	v := &Verifier{keep: keep, now: now, chains: map[string]*watched{}, anchors: map[string][]Head{}}
	for _, head := range anchors {
		v.anchors[head.Chain] = append(v.anchors[head.Chain], head)
	}
	return v
}

// Add checks the next message.
func (v *Verifier) Add(m Message) {
	if v.report.Messages > 0 && m.Sequence != v.report.To+1 {
		text := fmt.Sprintf("the stream lacks %s, after which it goes on with %d", span("message", v.report.To+1, m.Sequence-1), m.Sequence)
		if m.Sequence <= v.report.To {
			text = fmt.Sprintf("message %d comes after message %d", m.Sequence, v.report.To)
		}
		v.problem(Problem{Sequence: m.Sequence, Code: CodeMessages, Text: text})
	}
	if v.report.Messages == 0 {
		v.report.From = m.Sequence
	}
	v.report.Messages++
	v.report.To = m.Sequence
	Lines(m.Data, func(line []byte) { v.line(m, line) })
}

// links are what ties a row to the others.
type links struct {
	Chain  string    `json:"chain"`
	Number uint64    `json:"n"`
	Prev   string    `json:"prev"`
	Time   time.Time `json:"time"`
	Kind   Kind      `json:"kind"`
}

func (v *Verifier) line(m Message, line []byte) {
	v.report.Rows++
	hash, err := split(line)
	var l links
	if err == nil {
		if json.Unmarshal(line, &l) != nil || l.Chain == "" || l.Number == 0 {
			err = errRowFields
		}
	}
	if err != nil {
		v.problem(Problem{Chain: m.Chain, Sequence: m.Sequence, Code: CodeUnreadable, Text: fmt.Sprintf("a line of message %d %s", m.Sequence, err)})
		return
	}
	if l.Chain != m.Chain {
		v.problem(Problem{
			Chain: m.Chain, Number: l.Number, Sequence: m.Sequence, Code: CodeWrongSubject,
			Text: fmt.Sprintf("row %d of chain %s stands under the subject of %s", l.Number, l.Chain, m.Chain),
		})
		return
	}
	w, known := v.chains[l.Chain]
	if !known {
		w = &watched{ChainReport: ChainReport{First: l.Number, State: StateOpen}, expect: v.anchors[l.Chain]}
		v.chains[l.Chain] = w
	}
	v.tie(w, known, l, hash, m.Sequence)
	if l.Kind == KindStart || l.Kind == KindEnd {
		v.edge(w, line, m.Sequence)
	}
	v.meet(w, m.Sequence)
}

// tie checks a row against the one before it, and makes it the last one.
func (v *Verifier) tie(w *watched, known bool, l links, hash string, sequence uint64) {
	at := Problem{Chain: l.Chain, Number: l.Number, Sequence: sequence}
	switch {
	case !known && l.Number == 1 && l.Prev != "":
		at.Code, at.Text = CodeLink, "the first row has another before it"
	case !known && l.Number > 1 && !v.tooOld(Began(l.Chain)):
		at.Code, at.Text = CodeNoHead, fmt.Sprintf("it begins with row %d, and the rows before it were not too old to be kept", l.Number)
	case !known:
	case l.Number <= w.Number:
		at.Code, at.Text = CodeOrder, fmt.Sprintf("row %d comes after row %d", l.Number, w.Number)
	case l.Number > w.Number+1:
		at.Code, at.Text = CodeGap, fmt.Sprintf("%s missing", areMissing(w.Number+1, l.Number-1))
	case l.Prev != w.Hash:
		at.Code, at.Text = CodeLink, fmt.Sprintf("row %d is not tied to the row %d that is there", l.Number, w.Number)
	case w.ended:
		at.Code, at.Text = CodeAfterEnd, fmt.Sprintf("row %d stands behind the end of the chain", l.Number)
	}
	if at.Code != "" {
		v.problem(at)
	}
	if known && l.Number <= w.Number {
		return // what is put in does not become the head
	}
	w.Head = Head{Chain: l.Chain, Number: l.Number, Hash: hash, Time: l.Time}
}

// edge looks into the first and the last row of a chain.
func (v *Verifier) edge(w *watched, line []byte, sequence uint64) {
	row, _, err := Read(line)
	at := Problem{Chain: w.Chain, Number: row.Number, Sequence: sequence}
	switch {
	case err != nil:
		at.Code, at.Text = CodeUnreadable, "a row "+err.Error()
		v.problem(at)
	case row.End != nil:
		w.ended, w.State = true, StateEnded
		if row.End.Rows != row.Number {
			at.Code, at.Text = CodeCount, fmt.Sprintf("its end is row %d and counts %d", row.Number, row.End.Rows)
			v.problem(at)
		}
	case row.Start != nil:
		if row.Number == 1 {
			w.Start = row.Start
		}
		if after := row.Start.After; after != nil {
			v.goesOn(*after, sequence)
		}
	}
}

// goesOn checks what a chain says of the one that it goes on for.
func (v *Verifier) goesOn(after Head, sequence uint64) {
	before := v.chains[after.Chain]
	switch {
	case before != nil && before.Number == after.Number && before.Hash == after.Hash:
		before.State = StateContinued
	case before == nil && v.tooOld(after.Time):
	default:
		there := uint64(0)
		if before != nil {
			there = before.Number
		}
		v.problem(Problem{
			Chain: after.Chain, Number: after.Number, Sequence: sequence, Code: CodeLost,
			Text: fmt.Sprintf("its worker had stored rows up to %d, of which the last that is there is %d", after.Number, there),
		})
	}
}

// meet compares the row that was just read with the heads noted earlier.
func (v *Verifier) meet(w *watched, sequence uint64) {
	for i, head := range w.expect {
		if head.Number != w.Number {
			continue
		}
		if head.Hash != w.Hash {
			v.problem(Problem{
				Chain: w.Chain, Number: w.Number, Sequence: sequence, Code: CodeAnchor,
				Text: fmt.Sprintf("row %d is another than the one that was noted earlier", w.Number),
			})
		}
		w.expect = slices.Delete(slices.Clone(w.expect), i, i+1)
		return
	}
}

// tooOld reports whether what was stored at a time may have been dropped for its
// age. The clocks of a worker and of the server may differ a little.
func (v *Verifier) tooOld(at time.Time) bool {
	const clocks = 5 * time.Minute
	return v.keep > 0 && (at.IsZero() || v.now.Sub(at) > v.keep-clocks)
}

// End ends the check. last is the stream's last sequence: what is there beyond
// the last message that was read is missing.
func (v *Verifier) End(last uint64) Report {
	if last > v.report.To && v.report.Messages > 0 {
		v.problem(Problem{Code: CodeMessages, Text: fmt.Sprintf("the stream lacks %s at its end", span("message", v.report.To+1, last))})
	}
	for _, heads := range v.anchors {
		for _, head := range heads {
			w := v.chains[head.Chain]
			if w != nil && !slices.Contains(w.expect, head) || v.tooOld(head.Time) && (w == nil || head.Number < w.First) {
				continue
			}
			v.problem(Problem{
				Chain: head.Chain, Number: head.Number, Code: CodeAnchor,
				Text: fmt.Sprintf("row %d, which was noted earlier, is not there", head.Number),
			})
		}
	}
	r := v.report
	r.Chains = make([]ChainReport, 0, len(v.chains))
	for _, w := range v.chains {
		r.Chains = append(r.Chains, w.ChainReport)
	}
	slices.SortFunc(r.Chains, func(a, b ChainReport) int { return cmp.Or(cmp.Compare(a.Chain, b.Chain), 0) })
	return r
}

func (v *Verifier) problem(p Problem) {
	v.report.ProblemCount++
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, p)
	}
}

// span names things by their numbers.
func span(thing string, from, to uint64) string {
	if from == to {
		return fmt.Sprintf("%s %d", thing, from)
	}
	return fmt.Sprintf("%ss %d to %d", thing, from, to)
}

func areMissing(from, to uint64) string {
	if from == to {
		return span("row", from, to) + " is"
	}
	return span("row", from, to) + " are"
}

// chainTime is how the name of a chain begins: when its worker started.
const chainTime = "20060102T150405Z"

// ChainName makes the name of a chain that begins now. unique tells it from the
// others of the same second.
func ChainName(now time.Time, unique string) string {
	return now.UTC().Format(chainTime) + "-" + unique
}

// Began returns when a chain began, by its name; zero where that does not say.
func Began(chain string) time.Time {
	text, _, _ := strings.Cut(chain, "-")
	at, err := time.Parse(chainTime, text)
	if err != nil {
		return time.Time{}
	}
	return at
}
