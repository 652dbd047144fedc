package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/audit"
)

var begin = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// record builds a stream: a few chains whose messages alternate, each of one to
// four rows. Those of ended have their end row.
func record(t *rapid.T, chains int) (messages []audit.Message, ended map[string]bool) {
	ended = map[string]bool{}
	writers := make([]*audit.Chain, chains)
	for i := range writers {
		name := audit.ChainName(begin.Add(time.Duration(i)*time.Second), fmt.Sprintf("chain%d", i))
		writers[i] = audit.NewChain(name)
		ended[name] = rapid.Bool().Draw(t, "ended")
	}
	at := begin
	put := func(c *audit.Chain, rows ...audit.Row) {
		var lines [][]byte
		for _, row := range rows {
			line, err := c.AppendTo(nil, &row, at)
			if err != nil {
				t.Fatalf("append: %v", err)
			}
			lines = append(lines, line)
		}
		at = at.Add(time.Second)
		messages = append(messages, audit.Message{
			Chain: c.Head().Chain, Sequence: uint64(len(messages)) + 1, Time: at, Data: bytes.Join(lines, []byte("\n")),
		})
	}
	for _, c := range writers {
		put(c, audit.Row{Start: &audit.Start{Worker: "w", Host: "h", Version: "1"}})
	}
	for range rapid.IntRange(1, 12).Draw(t, "messages") {
		c := writers[rapid.IntRange(0, chains-1).Draw(t, "chain")]
		var rows []audit.Row
		for range rapid.IntRange(1, 4).Draw(t, "rows") {
			rows = append(rows, audit.Row{Command: &audit.Command{
				ID: rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "id"), Publisher: "send", Outcome: "done", Decision: "allowed", Received: at,
			}})
		}
		put(c, rows...)
	}
	for _, c := range writers {
		if ended[c.Head().Chain] {
			put(c, audit.Row{End: &audit.End{}})
		}
	}
	return messages, ended
}

func verify(messages []audit.Message, last uint64, anchors ...audit.Head) audit.Report {
	v := audit.NewVerifier(8760*time.Hour, begin.Add(time.Hour), anchors)
	for _, m := range messages {
		v.Add(m)
	}
	return v.End(last)
}

func copied(messages []audit.Message) []audit.Message {
	out := slices.Clone(messages)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}

// resequenced numbers the messages anew, as somebody does who makes the stream
// again: what is found then is found by the chains alone.
func resequenced(messages []audit.Message) []audit.Message {
	for i := range messages {
		messages[i].Sequence = uint64(i) + 1
	}
	return messages
}

func TestARecordThatNobodyTouchedIsGood(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages, ended := record(t, rapid.IntRange(1, 3).Draw(t, "chains"))
		report := verify(messages, uint64(len(messages)))
		if report.ProblemCount != 0 {
			t.Fatalf("problems in a good record: %+v", report.Problems)
		}
		for _, chain := range report.Chains {
			want := audit.StateOpen
			if ended[chain.Chain] {
				want = audit.StateEnded
			}
			if chain.State != want || chain.First != 1 || chain.Start == nil {
				t.Fatalf("chain %+v, want state %s from row 1", chain, want)
			}
		}
	})
}

func TestAnyFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages, _ := record(t, rapid.IntRange(1, 3).Draw(t, "chains"))
		bad := copied(messages)
		data := bad[rapid.IntRange(0, len(bad)-1).Draw(t, "message")].Data
		data[rapid.IntRange(0, len(data)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if verify(bad, uint64(len(bad))).ProblemCount == 0 {
			t.Fatal("a flipped bit is not found")
		}
	})
}

// rows takes messages apart into one message for each row.
func rows(messages []audit.Message) (out []audit.Message) {
	for _, m := range messages {
		audit.Lines(m.Data, func(line []byte) {
			out = append(out, audit.Message{Chain: m.Chain, Time: m.Time, Data: bytes.Clone(line)})
		})
	}
	return resequenced(out)
}

// isTail reports whether nothing of a row's chain comes after it.
func isTail(all []audit.Message, at int) bool {
	return !slices.ContainsFunc(all[at+1:], func(m audit.Message) bool { return m.Chain == all[at].Chain })
}

func TestAnyRemovedRowIsFoundUnlessItIsTheLastOfItsChain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages, ended := record(t, rapid.IntRange(1, 3).Draw(t, "chains"))
		all := rows(messages)
		before := verify(all, uint64(len(all)))
		at := rapid.IntRange(0, len(all)-1).Draw(t, "row")
		tail, chain := isTail(all, at), all[at].Chain

		// Where the stream's sequence numbers are as they were, each one is found.
		if verify(slices.Delete(copied(all), at, at+1), uint64(len(all))).ProblemCount == 0 && len(all) > 1 && at > 0 {
			t.Fatal("a message that the stream lacks is not found")
		}
		after := verify(resequenced(slices.Delete(copied(all), at, at+1)), uint64(len(all)-1))
		switch {
		case !tail && after.ProblemCount == 0:
			t.Fatal("a removed row is not found")
		case tail && ended[chain] && len(after.Chains) == len(before.Chains) && stateOf(after, chain) != audit.StateOpen:
			t.Fatalf("a chain without its end is %s", stateOf(after, chain))
		}
		// A head that was noted somewhere else finds the last row, too.
		var anchors []audit.Head
		for _, c := range before.Chains {
			anchors = append(anchors, c.Head)
		}
		if verify(resequenced(slices.Delete(copied(all), at, at+1)), uint64(len(all)-1), anchors...).ProblemCount == 0 {
			t.Fatal("a removed row is not found by the heads that were noted")
		}
	})
}

func stateOf(r audit.Report, chain string) string {
	for _, c := range r.Chains {
		if c.Chain == chain {
			return c.State
		}
	}
	return ""
}

func TestAnyInsertedRowIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages, _ := record(t, rapid.IntRange(1, 3).Draw(t, "chains"))
		all := rows(messages)
		source := all[rapid.IntRange(0, len(all)-1).Draw(t, "row")]
		if rapid.Bool().Draw(t, "forged") { // with a hash of its own that is right
			row, _, err := audit.Read(source.Data)
			if err != nil {
				t.Fatal(err)
			}
			forger := audit.NewChain(source.Chain)
			for range row.Number {
				source.Data, _ = forger.AppendTo(nil, &audit.Row{Command: &audit.Command{ID: "forged"}}, begin)
			}
		}
		bad := resequenced(slices.Insert(copied(all), rapid.IntRange(0, len(all)).Draw(t, "at"), source))
		if verify(bad, uint64(len(bad))).ProblemCount == 0 {
			t.Fatal("an inserted row is not found")
		}
	})
}

func TestAnyTwoRowsOfAChainThatChangedPlacesAreFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages, _ := record(t, rapid.IntRange(1, 3).Draw(t, "chains"))
		all := rows(messages)
		a := rapid.IntRange(0, len(all)-1).Draw(t, "a")
		b := rapid.IntRange(0, len(all)-1).Draw(t, "b")
		if a == b || all[a].Chain != all[b].Chain {
			return
		}
		bad := copied(all)
		bad[a].Data, bad[b].Data = bad[b].Data, bad[a].Data
		if verify(bad, uint64(len(bad))).ProblemCount == 0 {
			t.Fatal("rows in another order are not found")
		}
	})
}

func TestAChangedRowWithARightHashIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		messages, _ := record(t, 1)
		all := rows(messages)
		at := rapid.IntRange(0, len(all)-1).Draw(t, "row")
		forger := audit.NewChain(all[at].Chain)
		bad := copied(all)
		for range at + 1 {
			bad[at].Data, _ = forger.AppendTo(nil, &audit.Row{Command: &audit.Command{ID: "forged"}}, begin)
		}
		if at == len(all)-1 && at == 0 {
			return // all of the chain is made anew, which only a noted head can tell
		}
		if verify(bad, uint64(len(bad))).ProblemCount == 0 && at > 0 {
			t.Fatal("a changed row is not found")
		}
		head := verify(all, uint64(len(all))).Chains[0].Head
		if verify(bad, uint64(len(bad)), head).ProblemCount == 0 {
			t.Fatal("a changed row is not found by the head that was noted")
		}
	})
}
