package httpd

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/health"
)

var (
	//go:embed page.html
	pageSource string
	//go:embed style.css
	styleSource []byte
	//go:embed script.js
	scriptSource []byte
	//go:embed icon.svg
	iconSource []byte
)

var pages = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": ago, "in": in, "for": func(now, t time.Time) string { return span(now.Sub(t)) }, "instant": instant, "command": isCommand, "lines": func(list []string) string { return strings.Join(list, ", ") },
}).Parse(pageSource))

// feedsOnPage is how many feeds a page shows: with ten thousand of them it stays
// small, and the worst come first.
const feedsOnPage = 25

// overview is what the page "/" shows.
type overview struct {
	Status  Status
	Now     time.Time
	Summary string
	// Level is high, degraded, warning or ok: the colour of the page.
	Level  string
	Title  string
	Causes []cause
	// Healthy and All count the conditions.
	Healthy, All int
	// Counts are the feeds by state. Feeds are those of this page of theirs, the
	// worst first; First and Last are their numbers.
	Counts           map[string]int
	Feeds            []FeedStatus
	Find             string
	Found            int
	First, Last      int
	Previous, Next   string // addresses; empty: there is none
	GrantsOK         int
	DeadKnown        bool
	DeadAll          uint64
	DeadCommands     uint64
	DeadItems        uint64
	ConditionsSorted []health.Condition
}

// cause is a failing condition with those that fail because of it.
type cause struct {
	health.Condition
	Consequences []string
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "overview", newOverview(s.opts.Status(r.Context()), r.URL.Query(), time.Now()))
}

func newOverview(status Status, query url.Values, now time.Time) overview {
	o := overview{
		Status: status, Now: now, Summary: health.Summary(status.Conditions), Level: "ok", Title: "Everything works",
		Counts: make(map[string]int), All: len(status.Conditions),
	}
	for _, root := range health.Roots(status.Conditions) {
		o.Causes = append(o.Causes, cause{root, health.Because(status.Conditions, root.Code)})
	}
	for _, c := range status.Conditions {
		if c.OK {
			o.Healthy++
		}
	}
	switch {
	case !health.Ready(status.Conditions):
		o.Level, o.Title = string(health.High), "Not ready"
	case len(o.Causes) > 0:
		o.Level = string(o.Causes[0].Severity)
		o.Title = map[health.Severity]string{health.Degraded: "Works, in part", health.Warning: "Works, with something to look at"}[o.Causes[0].Severity]
	}
	for _, c := range status.Clients {
		if c.State == "ok" {
			o.GrantsOK++
		}
	}
	o.DeadKnown = status.DeadLetters != nil
	o.DeadCommands, o.DeadItems = status.DeadLetters["publish"], status.DeadLetters["event"]
	o.DeadAll = o.DeadCommands + o.DeadItems
	o.ConditionsSorted = slices.Clone(status.Conditions)
	slices.SortStableFunc(o.ConditionsSorted, func(a, b health.Condition) int { return cmp.Compare(standing(a), standing(b)) })
	o.pageOfFeeds(query)
	return o
}

// standing orders conditions: what fails by itself, what fails because of that,
// what holds.
func standing(c health.Condition) int {
	switch {
	case c.OK:
		return 2
	case c.Because != "":
		return 1
	default:
		return 0
	}
}

// pageOfFeeds picks the feeds to show.
func (o *overview) pageOfFeeds(query url.Values) {
	o.Find = strings.TrimSpace(query.Get("find"))
	words := strings.Fields(strings.ToLower(o.Find))
	var found []FeedStatus
	for _, f := range o.Status.Feeds {
		o.Counts[f.State]++
		text := strings.ToLower(f.Subscription + " " + f.Mailbox + " " + f.State + " " + f.Result + " " + f.Error)
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			found = append(found, f)
		}
	}
	WorstFirst(found)
	o.Found = len(found)
	from, err := strconv.Atoi(query.Get("from"))
	if err != nil || from < 0 || from >= len(found) {
		from = 0
	}
	to := min(from+feedsOnPage, len(found))
	o.Feeds, o.First, o.Last = named(found[from:to], o.Status.Feeds), min(from+1, to), to
	link := func(from int) string {
		values := url.Values{}
		if from > 0 {
			values.Set("from", strconv.Itoa(from))
		}
		if o.Find != "" {
			values.Set("find", o.Find)
		}
		return "/?" + values.Encode() + "#feeds"
	}
	if from > 0 {
		o.Previous = link(max(from-feedsOnPage, 0))
	}
	if to < len(found) {
		o.Next = link(to)
	}
}

// named leaves out the part of feeds that are the only ones of their mailbox in a
// subscription, and shortens that of the others: it is a hash.
func named(shown, all []FeedStatus) []FeedStatus {
	type place struct{ subscription, mailbox string }
	siblings := make(map[place]int, len(all))
	for _, f := range all {
		siblings[place{f.Subscription, f.Mailbox}]++
	}
	shown = slices.Clone(shown)
	for i, f := range shown {
		if siblings[place{f.Subscription, f.Mailbox}] < 2 || f.Part == "-" {
			shown[i].Part = ""
		}
		shown[i].Part = shown[i].Part[:min(len(shown[i].Part), 8)]
	}
	return shown
}

// WorstFirst sorts feeds: those that fail before the rest, those that have done so
// for long before the others, then those that were polled longest ago.
func WorstFirst(feeds []FeedStatus) { slices.SortStableFunc(feeds, worse) }

func worse(a, b FeedStatus) int {
	order := []string{"failing", "paused", "unpolled", "ok"}
	return cmp.Or(
		cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)),
		cmp.Compare(b.Lag, a.Lag), a.LastPoll.Compare(b.LastPoll),
		cmp.Compare(a.Subscription, b.Subscription), cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.Part, b.Part),
	)
}

// ago says how long ago something was, for people.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return span(now.Sub(t)) + " ago"
}

func in(now, t time.Time) string {
	switch {
	case t.IsZero():
		return "–"
	case !t.After(now):
		return "now"
	default:
		return "in " + span(t.Sub(now))
	}
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// instant is a time for programs, and for who points at it.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// isCommand reports whether a hint is nothing but a command to run.
func isCommand(hint string) bool { return strings.HasPrefix(hint, Program+" ") }

func (s *Server) render(w http.ResponseWriter, code int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		s.opts.Log.Warn("page cut off", "page", name, "error", err)
	}
}

// asset serves a file that is part of the program.
func asset(kind string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content)
	}
}
