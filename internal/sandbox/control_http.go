package sandbox

// The control port, under /_sandbox/ on the same listener: what the control
// functions do, for programs in other languages and for people with curl. It is
// not part of Graph and asks for no token. docs/sandbox.md has examples. Faults
// are in control_faults.go, accounts in control_accounts.go.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Sandbox) controlRoutes() map[string]func(*http.Request) (any, error) {
	routes := map[string]func(*http.Request) (any, error){
		"POST deliver":       s.controlDeliver,
		"POST act":           s.controlAct,
		"POST faults":        s.controlAddFault,
		"GET faults":         func(*http.Request) (any, error) { return s.Rules(), nil },
		"DELETE faults":      func(*http.Request) (any, error) { s.ClearControls(); return done(), nil },
		"DELETE faults/{id}": s.controlRemoveFault,
		"GET effects":        func(r *http.Request) (any, error) { return s.controlEffects(r), nil },
		"GET requests":       func(r *http.Request) (any, error) { return newest(s.Requests(), r), nil },
		"GET mailboxes":      func(*http.Request) (any, error) { return s.Mailboxes(), nil },
		"GET messages":       s.controlMessages,
		"GET stats":          func(*http.Request) (any, error) { return s.Stats(), nil },
		"POST expire-delta":  s.controlExpireDelta,
		"GET delta":          s.controlDelta,
		"POST delta":         s.controlDelta,
	}
	maps.Copy(routes, s.accountControls())
	return routes
}

func (s *Sandbox) serveControl(w http.ResponseWriter, r *http.Request, rest string) {
	routes := s.controlRoutes()
	rest = strings.Trim(rest, "/")
	handle := routes[r.Method+" "+rest]
	if path, id, ok := strings.Cut(rest, "/"); ok && handle == nil {
		r.SetPathValue("id", id)
		handle = routes[r.Method+" "+path+"/{id}"]
	}
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
		v = map[string]any{"routes": names, "fault_kinds": faultKinds()}
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

func (s *Sandbox) controlExpireDelta(r *http.Request) (any, error) {
	in, err := readControl[struct {
		Mailbox string `json:"mailbox"`
	}](r)
	if err == nil && !s.ExpireDelta(in.Mailbox) {
		err = fmt.Errorf("no mailbox %s", in.Mailbox)
	}
	return done(), err
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
