//go:build unix

package proof_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// arrival is when something that was begun came to its end.
type arrival struct{ sent, came time.Time }

func (a arrival) took() time.Duration { return a.came.Sub(a.sent) }

// judge compares what was begun with what is stored and what Graph did, and says
// how long each disaster was felt.
func (c *cluster) judge() {
	t := c.t
	t.Helper()
	commands, mails := c.outcomes(), c.events()
	effects := map[string]int{}
	for _, e := range c.graph.effects() {
		if e.Kind == "sent" && strings.HasPrefix(e.Subject, "out-") {
			effects[e.Subject]++
		}
	}
	var lost, twice, unclear int
	var news, answers []arrival
	for what, sent := range c.sent {
		if strings.HasPrefix(what, "in-") {
			for i := range c.copies {
				name := fmt.Sprintf("inbox-%d", i)
				came := mails[name+" "+what]
				switch len(came) {
				case 1:
					news = append(news, arrival{sent, came[0]})
				case 0:
					lost++
					t.Errorf("%s was never told by %s", what, name)
				default:
					twice++
					t.Errorf("%s was told %d times by %s", what, len(came), name)
				}
			}
			continue
		}
		is, told := commands[what]
		switch {
		case !told:
			lost++
			t.Errorf("%s has no outcome", what)
		case is.outcome != "done":
			unclear++
			t.Errorf("%s is %s: %s", what, is.outcome, is.body)
		default:
			answers = append(answers, arrival{sent, is.at})
		}
		if n := effects[what]; n != 1 {
			t.Errorf("%s went out %d times and is %s", what, n, is.outcome)
			if n > 1 {
				twice++
			}
		}
	}
	// Deliveries may be late by a poll's interval when all is well.
	for _, kind := range []struct {
		name   string
		all    []arrival
		normal time.Duration
	}{{"mails to events", news, c.every + c.every/2 + 3*time.Second}, {"commands to outcomes", answers, 3 * time.Second}} {
		took := make([]time.Duration, 0, len(kind.all))
		for _, a := range kind.all {
			took = append(took, a.took())
		}
		slices.Sort(took)
		if len(took) == 0 {
			t.Errorf("no %s at all", kind.name)
			continue
		}
		t.Logf("%d %s: p50 %.2f s, p99 %.2f s, longest %.1f s", len(took), kind.name,
			took[len(took)/2].Seconds(), took[len(took)*99/100].Seconds(), took[len(took)-1].Seconds())
		for i, is := range c.happened {
			next := time.Now()
			if i+1 < len(c.happened) {
				next = c.happened[i+1].at
			}
			felt, late := is.over, 0
			for _, a := range kind.all {
				if a.took() > kind.normal && a.came.After(is.at) && a.came.Before(next) {
					late++
					if a.came.After(felt) {
						felt = a.came
					}
				}
			}
			t.Logf("  %s: took %.1f s; %d late, the last one %.1f s after it was over", is.what, is.over.Sub(is.at).Seconds(), late, felt.Sub(is.over).Seconds())
			if felt.Sub(is.over) > takeover {
				t.Errorf("%s: %s were late for %.1f s after %s", kind.name, kind.name, felt.Sub(is.over).Seconds(), is.what)
			}
		}
	}
	t.Logf("%d commands, %d mails for %d feeds: %d lost, %d twice, %d not done; seed %d",
		len(answers)+unclear, len(news)/max(c.copies, 1), c.boxes*c.copies, lost, twice, unclear, *seed)
	for _, p := range c.workers {
		select {
		case <-p.done:
		default:
			p.stop()
		}
		report(t, p.stumbles())
	}
}

type clusterOutcome struct {
	outcome string
	at      time.Time
	body    []byte
}

// outcomes are those of all commands by id.
func (c *cluster) outcomes() map[string]clusterOutcome {
	c.t.Helper()
	all := map[string]clusterOutcome{}
	err := c.witness.each(c.t.Context(), "OUTLOOK_RESULT", "outlook.result.>", func(m *jetstream.RawStreamMsg) {
		var is struct {
			ID, Outcome string
		}
		if err := json.Unmarshal(m.Data, &is); err != nil {
			c.t.Errorf("outcome %s: %v", m.Subject, err)
		}
		all[is.ID] = clusterOutcome{is.Outcome, m.Time, m.Data}
	})
	if err != nil {
		c.t.Error(err)
	}
	return all
}

// events are when which subscription told of which mail.
func (c *cluster) events() map[string][]time.Time {
	c.t.Helper()
	all := map[string][]time.Time{}
	err := c.witness.each(c.t.Context(), "OUTLOOK_EVENTS", "outlook.event.>", func(m *jetstream.RawStreamMsg) {
		var is struct{ Subject string }
		if json.Unmarshal(m.Data, &is) == nil && strings.HasPrefix(is.Subject, "in-") {
			key := m.Header.Get("Outlook-Subscription") + " " + is.Subject
			all[key] = append(all[key], m.Time)
		}
	})
	if err != nil {
		c.t.Error(err)
	}
	return all
}
