package sandbox

// The log of requests: what came when, and what was answered when. The newest
// ones are kept (KeepRequests). Tokens and bodies are not in it.

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Call is one request as the log keeps it.
type Call struct {
	ID              string    `json:"request_id"`
	ClientRequestID string    `json:"client_request_id,omitempty"`
	Arrived         time.Time `json:"arrived"`
	Finished        time.Time `json:"finished"`
	Method          string    `json:"method"`
	// Route is the template of the path, such as
	// /users/{user-id}/messages/{message-id}, or the path itself where there
	// is none.
	Route string `json:"route"`
	Path  string `json:"path"`
	Query string `json:"query,omitempty"`
	// Batch is the id of the batch that it was a part of.
	Batch   string `json:"batch,omitempty"`
	App     string `json:"app,omitempty"`
	Mailbox string `json:"mailbox,omitempty"`
	Status  int    `json:"status"` // 0: the connection was reset
	Code    string `json:"code,omitempty"`
	// Offence says that it came before a Retry-After was over.
	Offence bool `json:"offence,omitempty"`
	// Fault says that a control function answered or changed the answer.
	Fault bool `json:"fault,omitempty"`
}

type requestLog struct {
	mu    sync.Mutex
	keep  int
	ring  []Call
	next  int
	total int64
}

func (l *requestLog) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	switch {
	case l.keep <= 0:
	case len(l.ring) < l.keep:
		l.ring = append(l.ring, c)
	default:
		l.ring[l.next] = c
		l.next = (l.next + 1) % l.keep
	}
}

// Requests lists the finished requests that the log still has, by arrival.
func (s *Sandbox) Requests() []Call {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	list := slices.Clone(s.calls.ring)
	slices.SortStableFunc(list, func(a, b Call) int { return a.Arrived.Compare(b.Arrived) })
	return list
}

// Stats are the counts so far.
func (s *Sandbox) Stats() Stats {
	var st Stats
	s.calls.mu.Lock()
	st.Requests = s.calls.total
	st.RequestsForgotten = s.calls.total - int64(len(s.calls.ring))
	s.calls.mu.Unlock()
	names := map[string]string{}
	s.read(func(state *state) {
		st.EffectsForgotten = state.forgottenEffects()
		for _, b := range state.everyBox() {
			names[b.ID] = b.UPN
		}
	})
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	for key, p := range s.limits.books {
		st.Refused += p.refused
		st.Throttled += p.throttled
		st.Offences += p.offences
		if key.mailbox != "" {
			st.MaxConcurrency = max(st.MaxConcurrency, p.peak)
		}
		st.Mailboxes = append(st.Mailboxes, MailboxStats{
			App: key.app, Mailbox: names[key.mailbox], Requests: p.requests, Open: p.open,
			MaxConcurrency: p.peak, Refused: p.refused, Throttled: p.throttled, Offences: p.offences, Uploaded: p.uploaded,
		})
	}
	slices.SortFunc(st.Mailboxes, func(a, b MailboxStats) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Mailbox, b.Mailbox))
	})
	return st
}
