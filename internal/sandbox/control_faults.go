package sandbox

// Faults on the control port: POST puts one in force and answers its id, GET
// lists those in force, DELETE takes away all or one, and lets go what a hold has
// stopped.

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultSpec is a fault as the control port takes and shows it. Which members a
// kind reads is in the table of docs/sandbox.md; it passes over the others.
type FaultSpec struct {
	Kind        string `json:"kind"`
	Status      int    `json:"status,omitempty"`
	Code        string `json:"code,omitempty"`
	RetryAfter  string `json:"retry_after,omitempty"`
	Shape       string `json:"shape,omitempty"`
	Wait        string `json:"wait,omitempty"`
	Delay       string `json:"delay,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body,omitempty"`
	Bytes       int    `json:"bytes,omitempty"`
	Every       string `json:"every,omitempty"`
	Location    string `json:"location,omitempty"`
	Name        string `json:"name,omitempty"`
	Value       string `json:"value,omitempty"`
	Error       string `json:"error,omitempty"`
	AADSTS      int    `json:"aadsts,omitempty"`

	gate chan struct{} // of a hold
}

// faultOrder is what POST faults takes.
type faultOrder struct {
	Match Match     `json:"match"`
	Fault FaultSpec `json:"fault"`
	Aim
}

// faultMakers are the kinds. A map is made for each order: they are rare.
func faultMakers() map[string]func(FaultSpec) (ControlFunc, error) {
	plain := func(fn ControlFunc) func(FaultSpec) (ControlFunc, error) {
		return func(FaultSpec) (ControlFunc, error) { return fn, nil }
	}
	return map[string]func(FaultSpec) (ControlFunc, error){
		"fail_before": func(f FaultSpec) (ControlFunc, error) {
			return FailBefore(f.statusOr(http.StatusServiceUnavailable), f.codeOr("ServiceUnavailable"), f.RetryAfter), nil
		},
		"fail_after": func(f FaultSpec) (ControlFunc, error) {
			return failAfter(f.statusOr(http.StatusServiceUnavailable), f.codeOr("ServiceUnavailable"), f.RetryAfter), nil
		},
		"throttle":        FaultSpec.throttle,
		"reset_before":    plain(ResetBeforeEffect()),
		"reset_after":     plain(ResetAfterEffect()),
		"reset_in_body":   func(f FaultSpec) (ControlFunc, error) { return ResetInBody(f.Bytes), nil },
		"truncate":        func(f FaultSpec) (ControlFunc, error) { return Truncate(f.Bytes), nil },
		"dribble":         FaultSpec.dribble,
		"drop_connection": plain(DropConnection()),
		"delay": func(f FaultSpec) (ControlFunc, error) {
			d, err := readDuration("delay", f.Delay)
			return Delay(d), err
		},
		"late_answer": func(f FaultSpec) (ControlFunc, error) {
			d, err := readDuration("delay", f.Delay)
			return LateAnswer(d), err
		},
		"not_shown_yet": plain(NotShownYet()),
		"hold":          func(f FaultSpec) (ControlFunc, error) { return Hold(f.gate), nil },
		"answer": func(f FaultSpec) (ControlFunc, error) {
			return AnswerWith(f.statusOr(http.StatusServiceUnavailable), f.ContentType, f.Body), nil
		},
		"redirect": func(f FaultSpec) (ControlFunc, error) {
			if f.Location == "" {
				return nil, fmt.Errorf("location is missing: the address to send the client to")
			}
			return Redirect(f.statusOr(http.StatusFound), f.Location), nil
		},
		"header": func(f FaultSpec) (ControlFunc, error) {
			if f.Name == "" {
				return nil, fmt.Errorf("name is missing: the name of the header")
			}
			return AddHeader(f.Name, f.Value), nil
		},
		"html_page": func(f FaultSpec) (ControlFunc, error) { return HTMLPage(f.statusOr(http.StatusBadGateway)), nil },
		"html_page_after": func(f FaultSpec) (ControlFunc, error) {
			return HTMLPageAfterEffect(f.statusOr(http.StatusBadGateway)), nil
		},
		"empty_body": plain(EmptyBody()),
		"half_json":  plain(HalfJSON()),
		"other_json": func(f FaultSpec) (ControlFunc, error) { return OtherJSON(f.Body), nil },
		"content_type": func(f FaultSpec) (ControlFunc, error) {
			return OtherContentType(cmp.Or(f.ContentType, "text/html")), nil
		},
		"next_link_loop": plain(NextLinkLoop()),
		"foreign_link": func(f FaultSpec) (ControlFunc, error) {
			return ForeignLink(cmp.Or(f.Location, "https://graph.example.invalid")), nil
		},
		"no_links":   plain(NoLinks()),
		"both_links": plain(BothLinks()),
		"delta_lost": func(f FaultSpec) (ControlFunc, error) { return LoseDelta(f.Status, f.Code), nil },
		"token_error": func(f FaultSpec) (ControlFunc, error) {
			return FailToken(cmp.Or(f.Error, "invalid_grant"), cmp.Or(f.AADSTS, 70008)), nil
		},
	}
}

func faultKinds() []string {
	var kinds []string
	for kind := range faultMakers() {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func (f FaultSpec) statusOr(status int) int { return cmp.Or(f.Status, status) }

func (f FaultSpec) codeOr(code string) string { return cmp.Or(f.Code, code) }

func (f FaultSpec) dribble() (ControlFunc, error) {
	every := 100 * time.Millisecond
	if f.Every != "" {
		var err error
		if every, err = readDuration("every", f.Every); err != nil {
			return nil, err
		}
	}
	return Dribble(max(f.Bytes, 1), every), nil
}

func readDuration(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s %q is no duration such as 200ms", name, text)
	}
	return d, nil
}

func (o faultOrder) rule() (*Rule, error) {
	f := o.Fault
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return nil, fmt.Errorf("status %d is out of range", f.Status)
	}
	if o.Count < -1 || o.Skip < 0 || o.Probability < 0 || o.Probability > 1 || f.Bytes < 0 {
		return nil, fmt.Errorf("count is -1 or more, skip and bytes are not negative, probability is from 0 to 1")
	}
	maker := faultMakers()[f.Kind]
	if maker == nil {
		return nil, fmt.Errorf("kind %q is none of %s", f.Kind, joined(faultKinds()))
	}
	if f.Kind == "hold" {
		f.gate = make(chan struct{})
	}
	fn, err := maker(f)
	if err != nil {
		return nil, err
	}
	r := newRule(o.Match, o.Aim, fn)
	r.fault = f
	return r, nil
}

func (s *Sandbox) controlAddFault(r *http.Request) (any, error) {
	o, err := readControl[faultOrder](r)
	if err != nil {
		return nil, err
	}
	rule, err := o.rule()
	if err != nil {
		return nil, err
	}
	if rule.fault.gate != nil {
		s.faults.hold(rule, rule.fault.gate)
	} else {
		s.faults.add(rule)
	}
	return map[string]any{"ok": true, "id": rule.ID()}, nil
}

func (s *Sandbox) controlRemoveFault(r *http.Request) (any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	removed := err == nil && s.faults.remove(id)
	if letGo := err == nil && s.faults.letGo(id); !removed && !letGo {
		return nil, fmt.Errorf("no fault %s is in force", r.PathValue("id"))
	}
	return done(), nil
}

func joined[T ~string](list []T) string {
	words := make([]string, 0, len(list))
	for _, w := range list {
		words = append(words, string(w))
	}
	return strings.Join(words, ", ")
}
