//go:build unix

package proof_test

import (
	"strings"
	"testing"
)

// sound is a run in which all went well: one mail in, a command done, one
// uncertain with its effect and one without.
func sound() evidence {
	return evidence{
		mails:    map[string]mail{"in 1": {}},
		commands: map[string]command{"a": {subject: "mail a"}, "b": {subject: "mail b"}, "c": {subject: "mail c"}},
		events:   []event{{id: "1", subject: "in 1"}},
		outcomes: map[string]outcome{"a": {Outcome: "done"}, "b": {Outcome: "uncertain"}, "c": {Outcome: "uncertain"}},
		said:     map[string][]string{"a": {"done"}, "b": {"uncertain"}},
		letters:  map[string]int{"b": 1, "c": 1},
		sent:     map[string]int{"mail a": 1, "mail b": 1},
		received: map[string]int{"mail a": 1, "mail b": 1},
	}
}

func TestTheJudgeLetsASoundRunPass(t *testing.T) {
	t.Parallel()
	f, problems := sound().judge(2)
	if len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	want := figures{incoming: 1, events: 1, outgoing: 3, done: 1, uncertain: 2, effects: 2, effectsOfUncertain: 1, deadLetters: 2}
	if f != want {
		t.Errorf("figures %+v, want %+v", f, want)
	}
}

func TestTheJudgeSeesEveryKindOfDamage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(e *evidence)
		want   string
	}{
		"a lost mail":          {func(e *evidence) { e.events = nil }, `mail "in 1" is lost`},
		"an event id twice":    {func(e *evidence) { e.events = append(e.events, e.events[0]) }, "event id 1 is there 2 times"},
		"a mail told twice":    {func(e *evidence) { e.events = append(e.events, event{id: "2", subject: "in 1"}) }, `mail "in 1" has 2 events`},
		"an event from nobody": {func(e *evidence) { e.events = append(e.events, event{id: "2", subject: "x"}) }, `of "x", which nobody sent`},
		"an event without id":  {func(e *evidence) { e.events[0].id = "" }, "no ce-id"},
		"a mail sent twice":    {func(e *evidence) { e.sent["mail a"], e.received["mail a"] = 2, 2 }, "a was sent 2 times"},
		"an uncertain one sent twice": {func(e *evidence) {
			e.sent["mail b"], e.received["mail b"] = 2, 2
		}, "b was sent 2 times"},
		"a mail that did not arrive": {func(e *evidence) { e.received["mail a"] = 0 }, "sent 1 times and arrived 0 times"},
		"done but not sent":          {func(e *evidence) { delete(e.sent, "mail a"); delete(e.received, "mail a") }, "a is done, but was not sent"},
		"done with a dead letter":    {func(e *evidence) { e.letters["a"] = 1 }, "a is done and has 1 dead letters"},
		"uncertain without a letter": {func(e *evidence) { delete(e.letters, "b") }, "b is uncertain and has 0 dead letters"},
		"uncertain with two letters": {func(e *evidence) { e.letters["c"] = 2 }, "c is uncertain and has 2 dead letters"},
		"a command without outcome":  {func(e *evidence) { delete(e.outcomes, "a") }, "a has no outcome"},
		"a command that failed":      {func(e *evidence) { e.outcomes["a"] = outcome{Outcome: "failed"} }, "a failed"},
		"an outcome of another word": {func(e *evidence) { e.outcomes["a"] = outcome{Outcome: "maybe"} }, `the outcome "maybe"`},
		"an outcome that changed":    {func(e *evidence) { e.said["a"] = []string{"uncertain", "done"} }, "uncertain, then done"},
		"an outcome of nobody's":     {func(e *evidence) { e.outcomes["x"] = outcome{Outcome: "done"} }, "an outcome of x"},
		"a dead letter of nobody's":  {func(e *evidence) { e.letters["x"] = 1 }, "a dead letter of x"},
		"a mail that nobody sent":    {func(e *evidence) { e.sent["x"] = 1 }, `"x" was sent, which nobody asked for`},
		"a queue that is stuck":      {func(e *evidence) { e.queued = 1 }, "1 commands are still in the queue"},
		"more uncertain than can be": {func(e *evidence) {
			e.commands["d"] = command{subject: "mail d"}
			e.outcomes["d"] = outcome{Outcome: "uncertain"}
			e.letters["d"] = 1
		}, "3 commands are uncertain, but at most 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			test.damage(&e)
			if _, problems := e.judge(2); !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("problems %q, want one with %q", problems, test.want)
			}
		})
	}
}
