package sandbox

// The control port, under /_sandbox/ on the same listener: what the control
// functions do, for programs in other languages and for people with curl. It is
// not part of Graph and asks for no token. docs/sandbox.md has examples.

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func (s *Sandbox) serveControl(w http.ResponseWriter, r *http.Request, rest string) {
	routes := map[string]func(*http.Request) (any, error){
		"POST deliver":       s.controlDeliver,
		"POST faults":        s.controlAddFault,
		"DELETE faults":      func(*http.Request) (any, error) { s.ClearControls(); return done(), nil },
		"GET effects":        func(r *http.Request) (any, error) { return s.controlEffects(r), nil },
		"GET requests":       func(r *http.Request) (any, error) { return newest(s.Requests(), r), nil },
		"GET mailboxes":      func(*http.Request) (any, error) { return s.Mailboxes(), nil },
		"GET messages":       s.controlMessages,
		"GET stats":          func(*http.Request) (any, error) { return s.Stats(), nil },
		"POST expire-delta":  s.controlExpireDelta,
		"POST expire-tokens": func(*http.Request) (any, error) { s.ExpireAccessTokens(); return done(), nil },
		"POST revoke":        s.controlRevoke,
		"POST token":         s.controlToken,
	}
	rest = strings.Trim(rest, "/")
	handle := routes[r.Method+" "+rest]
	status := http.StatusOK
	var v any
	var err error
	switch {
	case handle != nil:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if v, err = handle(r); err != nil {
			status, v = http.StatusBadRequest, map[string]string{"error": err.Error()}
		}
	case rest == "":
		names := make([]string, 0, len(routes))
		for name := range routes {
			method, path, _ := strings.Cut(name, " ")
			names = append(names, method+" /_sandbox/"+path)
		}
		slices.Sort(names)
		v = map[string]any{"routes": names}
	default:
		status, v = http.StatusNotFound, map[string]string{"error": "no such control; GET /_sandbox/ lists them"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// done is the answer where there is nothing to tell.
func done() any { return map[string]bool{"ok": true} }

func readControl[T any](r *http.Request) (T, error) {
	var v T
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, fmt.Errorf("read body: %w", err)
	}
	return v, nil
}

// addresses is a text or a list of texts.
type addresses []string

// UnmarshalJSON reads either form.
func (a *addresses) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = addresses{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func (s *Sandbox) controlDeliver(r *http.Request) (any, error) {
	in, err := readControl[struct {
		To      addresses `json:"to"`
		From    string    `json:"from"`
		Subject string    `json:"subject"`
		Body    string    `json:"body"`
		HTML    bool      `json:"html"`
		Count   int       `json:"count"`
	}](r)
	if err != nil {
		return nil, err
	}
	if len(in.To) == 0 {
		return nil, fmt.Errorf("to is missing: a UPN or a list of them")
	}
	ids := make([]string, 0, max(in.Count, 1))
	for n := range max(in.Count, 1) {
		subject := in.Subject
		switch {
		case strings.Contains(subject, "{n}"):
			subject = strings.ReplaceAll(subject, "{n}", strconv.Itoa(n+1))
		case in.Count > 1:
			subject += " " + strconv.Itoa(n+1)
		}
		id, err := s.Deliver(Mail{To: in.To, From: in.From, Subject: subject, Body: in.Body, HTML: in.HTML})
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return map[string]any{"delivered": len(ids), "internet_message_ids": ids}, nil
}

// faultOrder is a fault as the control port takes it.
type faultOrder struct {
	Match Match `json:"match"`
	Fault struct {
		// Kind: fail_before, fail_after, reset_before, reset_after, delay, answer.
		Kind        string `json:"kind"`
		Status      int    `json:"status"`
		Code        string `json:"code"`
		RetryAfter  string `json:"retry_after"`
		Delay       string `json:"delay"`
		ContentType string `json:"content_type"`
		Body        string `json:"body"`
	} `json:"fault"`
	// Count is how many requests it hits: default 1, -1 for ever.
	Count int `json:"count"`
	// Probability that it hits a matching request. Default 1.
	Probability float64 `json:"probability"`
	// Seed of the dice, so that a run can be repeated.
	Seed uint64 `json:"seed"`
}

func (s *Sandbox) controlAddFault(r *http.Request) (any, error) {
	o, err := readControl[faultOrder](r)
	if err != nil {
		return nil, err
	}
	fn, err := o.fn()
	if err != nil {
		return nil, err
	}
	if o.Count == 0 {
		o.Count = 1
	}
	s.ControlN(o.Match, o.Count, fn)
	return done(), nil
}

func (o faultOrder) fn() (ControlFunc, error) {
	f := o.Fault
	if f.Status == 0 {
		f.Status = http.StatusServiceUnavailable
	}
	if f.Status < 200 || f.Status > 599 {
		return nil, fmt.Errorf("status %d is out of range", f.Status)
	}
	if f.Code == "" {
		f.Code = "ServiceUnavailable"
	}
	var fn ControlFunc
	switch f.Kind {
	case "fail_before":
		fn = FailBefore(f.Status, f.Code, f.RetryAfter)
	case "fail_after":
		fn = FailAfterEffect(f.Status, f.Code)
	case "reset_before":
		fn = ResetBeforeEffect()
	case "reset_after":
		fn = ResetAfterEffect()
	case "answer":
		fn = AnswerWith(f.Status, f.ContentType, f.Body)
	case "delay":
		d, err := time.ParseDuration(f.Delay)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("delay %q is no duration such as 200ms", f.Delay)
		}
		fn = Delay(d)
	default:
		return nil, fmt.Errorf("kind %q is none of fail_before, fail_after, reset_before, reset_after, delay, answer", f.Kind)
	}
	if o.Probability > 0 && o.Probability < 1 {
		return Sometimes(o.Probability, o.Seed, fn), nil
	}
	return fn, nil
}

// Sometimes lets fn see a request with a probability; the dice are seeded, so
// that the same order of requests gives the same faults.
func Sometimes(probability float64, seed uint64, fn ControlFunc) ControlFunc {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 0))
	return func(r *Request) bool {
		mu.Lock()
		hit := dice.Float64() < probability
		mu.Unlock()
		return hit && fn(r)
	}
}

func (s *Sandbox) controlExpireDelta(r *http.Request) (any, error) {
	in, err := readControl[struct {
		Mailbox string `json:"mailbox"`
	}](r)
	if err == nil && !s.ExpireDelta(in.Mailbox) {
		err = fmt.Errorf("no mailbox %s", in.Mailbox)
	}
	return done(), err
}

func (s *Sandbox) controlRevoke(r *http.Request) (any, error) {
	in, err := readControl[struct {
		UPN string `json:"upn"`
	}](r)
	if err == nil {
		s.RevokeSessions(in.UPN)
	}
	return done(), err
}

func (s *Sandbox) controlToken(r *http.Request) (any, error) {
	in, err := readControl[struct {
		UPN    string `json:"upn"`
		Scopes string `json:"scopes"`
	}](r)
	if err != nil {
		return nil, err
	}
	token, err := s.Token(in.UPN, in.Scopes)
	return map[string]string{"access_token": token}, err
}

func (s *Sandbox) controlEffects(r *http.Request) []Effect {
	kind := EffectKind(r.URL.Query().Get("kind"))
	return newest(slices.DeleteFunc(s.Effects(), func(e Effect) bool { return kind != "" && e.Kind != kind }), r)
}

// newest keeps the last n entries where the query says ?last=n.
func newest[T any](list []T, r *http.Request) []T {
	if n, err := strconv.Atoi(r.URL.Query().Get("last")); err == nil && n >= 0 && n < len(list) {
		return list[len(list)-n:]
	}
	if list == nil {
		return []T{} // an empty list, not null
	}
	return list
}
