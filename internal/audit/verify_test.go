package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/audit"
)

func line(t *testing.T, c *audit.Chain, row audit.Row) []byte {
	t.Helper()
	text, err := c.AppendTo(nil, &row, begin)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// stream builds one chain of n commands, each row a message of its own.
func stream(t *testing.T, name string, n int) []audit.Message {
	t.Helper()
	c := audit.NewChain(name)
	messages := []audit.Message{{Chain: name, Sequence: 1, Time: begin, Data: line(t, c, audit.Row{Start: &audit.Start{Host: "h"}})}}
	for i := range n {
		messages = append(messages, audit.Message{
			Chain: name, Sequence: uint64(i + 2), Time: begin, Data: line(t, c, audit.Row{Command: &audit.Command{ID: fmt.Sprint(i)}}),
		})
	}
	return messages
}

func codes(r audit.Report) string {
	var list []string
	for _, p := range r.Problems {
		list = append(list, p.Code)
	}
	return strings.Join(list, " ")
}

func TestAHeadThatIsGoneForItsAgeIsNoProblem(t *testing.T) {
	t.Parallel()
	messages := stream(t, audit.ChainName(begin, "a"), 5)[3:]
	for _, test := range []struct {
		name string
		now  time.Time
		want string
	}{
		{"old enough", begin.Add(25 * time.Hour), ""},
		{"too young", begin.Add(time.Hour), "no_head"},
	} {
		v := audit.NewVerifier(24*time.Hour, test.now, nil)
		for _, m := range messages {
			v.Add(m)
		}
		report := v.End(6)
		if got := codes(report); got != test.want {
			t.Errorf("%s: problems %q, want %q", test.name, got, test.want)
		}
		if report.Chains[0].First != 4 {
			t.Errorf("%s: first row %d, want 4", test.name, report.Chains[0].First)
		}
	}
}

func TestRowsThatTheStreamLostAreTold(t *testing.T) {
	t.Parallel()
	name := audit.ChainName(begin, "a")
	messages := stream(t, name, 5)
	last, _, err := audit.Read(messages[5].Data)
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := audit.Read(messages[5].Data)
	next := audit.NewChain(audit.ChainName(begin, "b"))
	start := line(t, next, audit.Row{Start: &audit.Start{Host: "h", After: &audit.Head{Chain: name, Number: last.Number, Hash: hash, Time: last.Time}}})

	whole := append(slices.Clone(messages), audit.Message{Chain: next.Head().Chain, Sequence: 7, Data: start})
	if report := verify(whole, 7); report.ProblemCount != 0 || stateOf(report, name) != audit.StateContinued {
		t.Errorf("a chain that goes on in another: %+v", report)
	}
	short := append(slices.Clone(messages[:4]), audit.Message{Chain: next.Head().Chain, Sequence: 5, Data: start})
	if got := codes(verify(short, 5)); got != "lost" {
		t.Errorf("problems %q, want lost", got)
	}
}

func TestEachKindOfDamageHasItsWord(t *testing.T) {
	t.Parallel()
	name := audit.ChainName(begin, "a")
	good := stream(t, name, 4)
	other := audit.NewChain(audit.ChainName(begin, "b"))
	stray := line(t, other, audit.Row{Start: &audit.Start{}})
	ended := audit.NewChain(audit.ChainName(begin, "c"))
	first, end, late := line(t, ended, audit.Row{Start: &audit.Start{}}), line(t, ended, audit.Row{End: &audit.End{}}), line(t, ended, audit.Row{Command: &audit.Command{}})
	for _, test := range []struct {
		want     string
		messages []audit.Message
		last     uint64
	}{
		{"messages gap", slices.Delete(slices.Clone(good), 2, 3), 5},
		{"gap", resequenced(slices.Delete(slices.Clone(good), 2, 3)), 4},
		{"order", resequenced(slices.Insert(slices.Clone(good), 3, good[1])), 6},
		{"messages", good, 6},
		{"unreadable", append(slices.Clone(good), audit.Message{Chain: name, Sequence: 6, Data: []byte("hello")}), 6},
		{"wrong_subject", append(slices.Clone(good), audit.Message{Chain: name, Sequence: 6, Data: stray}), 6},
		{"after_end", []audit.Message{{Chain: ended.Head().Chain, Sequence: 1, Data: bytes.Join([][]byte{first, end, late}, []byte("\n"))}}, 1},
	} {
		if got := codes(verify(test.messages, test.last)); got != test.want {
			t.Errorf("problems %q, want %q", got, test.want)
		}
	}
}

func TestAStrangersTextsFitIntoARow(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä\n\x00<", 1<<20)
	c := audit.NewChain("x")
	text := line(t, c, audit.Row{Command: &audit.Command{ID: long, Subject: long, MsgID: long, Publisher: long, Mailbox: long, Code: long, RequestID: long}})
	if len(text) > 64<<10 {
		t.Errorf("row of %d bytes", len(text))
	}
	if _, _, err := audit.Read(text); err != nil || bytes.Contains(text, []byte("\n")) {
		t.Errorf("row not readable, or of two lines: %v", err)
	}
}
