package graph_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/sandbox"
)

// box returns a sandbox with a client of its first person.
func box(t *testing.T, change func(*graph.Options), options ...sandbox.Option) (*sandbox.Sandbox, sandbox.Person, *world) {
	t.Helper()
	made, err := sandbox.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	person := made.People()[0]
	w := connect(t, made.GraphURL(), func(o *graph.Options) {
		o.Tokens = &people{t: t, box: made, upn: person.UPN}
		if change != nil {
			change(o)
		}
	})
	return made, person, w
}

// ids delivers mails and returns their ids.
func ids(t *testing.T, made *sandbox.Sandbox, person sandbox.Person, w *world, n int) (list []string) {
	t.Helper()
	for i := range n {
		if _, err := made.Deliver(sandbox.Mail{To: []string{person.UPN}, Subject: fmt.Sprintf("mail %02d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := readEach(t, w, delta(t), func(item []byte) {
		var mail struct{ ID string }
		if err := json.Unmarshal(item, &mail); err != nil {
			t.Fatal(err)
		}
		list = append(list, mail.ID)
	})
	if err != nil || len(list) < n {
		t.Fatalf("%d ids, %v", len(list), err)
	}
	return list[:n]
}

// batch holds the slots that a batch needs, as a caller does: one that it waits
// for, more where they are free. With fewer than four it sends no more at a time
// than it has slots.
func batch(t *testing.T, w *world, mailbox string, gets []graph.Get) (all []graph.Got, err error) {
	t.Helper()
	for len(all) < len(gets) {
		first, err := w.Acquire(t.Context(), mailbox)
		if err != nil {
			return all, err
		}
		releases, n := []func(){first}, len(gets)-len(all)
		for len(releases) < min(4, n) {
			release, _, ok := w.TakeSlot(t.Context(), mailbox)
			if !ok {
				n = len(releases)
				break
			}
			releases = append(releases, release)
		}
		got, err := w.Batch(t.Context(), mailbox, gets[len(all):len(all)+n])
		for _, release := range releases {
			release()
		}
		if err != nil {
			return all, err
		}
		all = append(all, got...)
	}
	return all, nil
}

func readEach(t *testing.T, w *world, req graph.Request, each func([]byte)) (*graph.Page, int, error) {
	t.Helper()
	n := 0
	page, err := w.Page(t.Context(), req, func(item []byte) error { n++; each(item); return nil })
	return page, n, err
}

func TestABatchGivesEachPartItsOwnAnswer(t *testing.T) {
	t.Parallel()
	made, person, w := box(t, nil)
	list := ids(t, made, person, w, 20)
	remove := graph.Request{
		Operation: operation(t, "mail.message.permanentDelete"), Mailbox: "me", Path: map[string]string{"message-id": list[7]},
		Headers: map[string]string{"Prefer": `IdType="ImmutableId"`},
	}
	if _, err := w.Do(t.Context(), remove); err != nil {
		t.Fatal(err)
	}
	var gets []graph.Get
	for _, id := range list {
		gets = append(gets, graph.Get{
			Path: "messages/" + id, Query: map[string]string{"$select": "id,subject,parentFolderId"},
			Headers: map[string]string{"Prefer": `IdType="ImmutableId"`},
		})
	}
	for _, mailbox := range []string{"me", person.UPN} {
		before := len(made.Requests())
		got, err := batch(t, w, mailbox, gets)
		if err != nil || len(got) != 20 {
			t.Fatalf("%d answers, %v", len(got), err)
		}
		for i, one := range got {
			if i == 7 {
				mark := wantFault(t, one.Err, fault.Poison, false)
				if one.Status != 404 || one.Code != "ErrorItemNotFound" || mark.Code != one.Code || one.Body != nil {
					t.Errorf("a mail that is gone: %d %s %s, %v", one.Status, one.Code, one.Body, one.Err)
				}
				continue
			}
			var mail map[string]any
			want := strings.TrimPrefix(gets[i].Path, "messages/")
			if err := json.Unmarshal(one.Body, &mail); err != nil || one.Err != nil || one.Status != 200 || mail["id"] != want || mail["parentFolderId"] == nil || mail["body"] != nil {
				t.Errorf("part %d: %d %v %s", i, one.Status, one.Err, one.Body)
			}
		}
		parts, batches := 0, 0
		for _, call := range made.Requests()[before:] {
			if call.Batch != "" {
				parts++
			}
			if call.Route == "/$batch" {
				batches++
			}
		}
		if parts != 20 || batches != 1 {
			t.Errorf("%s: %d parts in %d batches, want 20 in 1", mailbox, parts, batches)
		}
	}
}

// TestBatchesAndRequestsTogetherKeepToTheFour: Outlook throttles the fifth at
// once, whatever it is part of.
func TestBatchesAndRequestsTogetherKeepToTheFour(t *testing.T) {
	t.Parallel()
	made, person, w := box(t, nil)
	list := ids(t, made, person, w, 20)
	made.KeepControl(sandbox.Match{Route: "/me/messages/{message-id}"}, sandbox.Delay(2*time.Millisecond))
	gets := make([]graph.Get, len(list))
	for i, id := range list {
		gets[i] = graph.Get{Path: "messages/" + id, Headers: map[string]string{"Prefer": `IdType="ImmutableId"`}}
	}
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			got, err := batch(t, w, "me", gets)
			if err != nil {
				t.Errorf("batch: %v", err)
			}
			for i, one := range got {
				if one.Err != nil || !strings.Contains(string(one.Body), list[i]) {
					t.Errorf("part %d: %v", i, one.Err)
				}
			}
		})
		wait.Go(func() {
			release, err := w.Acquire(t.Context(), "me")
			if err != nil {
				t.Errorf("slot: %v", err)
				return
			}
			defer release()
			if _, _, err := readEach(t, w, delta(t), func([]byte) {}); err != nil {
				t.Errorf("page: %v", err)
			}
		})
	}
	wait.Wait()
	for _, call := range made.Requests() {
		if call.Status == http.StatusTooManyRequests {
			t.Errorf("throttled: %+v", call)
		}
	}
}

// envelope answers a batch by a function of the part's id, from 1.
func envelope(t *testing.T, w http.ResponseWriter, r *http.Request, answer func(id string) string) (parts int) {
	t.Helper()
	var in struct {
		Requests []struct{ ID, Method, URL string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1.0/$batch" {
		t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	var out []string
	for _, one := range slices.Backward(in.Requests) { // in any order
		out = append(out, answer(one.ID))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("request-id", "whole-1")
	_, _ = fmt.Fprintf(w, `{"responses":[%s]}`, strings.Join(out, ","))
	return len(in.Requests)
}

func part(id string, status int, header, body string) string {
	return fmt.Sprintf(`{"id":%q,"status":%d,"headers":{%s},"body":%s}`, id, status, header, body)
}

const throttled = `{"error":{"code":"ApplicationThrottled","message":"Application is over its MailboxConcurrency limit."}}`

func messages(n int) []graph.Get {
	gets := make([]graph.Get, n)
	for i := range gets {
		gets[i].Path = fmt.Sprintf("messages/AAMk%d", i)
	}
	return gets
}

func TestAThrottledPartParksTheMailboxForItsOwnTime(t *testing.T) {
	t.Parallel()
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		envelope(t, rw, r, func(id string) string {
			if id == "2" {
				return part(id, 429, `"Retry-After":"40"`, throttled)
			}
			return part(id, 200, "", `{"id":"`+id+`"}`)
		})
	}, nil)
	got, err := batch(t, w, "me", messages(3))
	if err != nil || string(got[0].Body) != `{"id":"1"}` || string(got[2].Body) != `{"id":"3"}` {
		t.Fatalf("%+v, %v", got, err)
	}
	if mark := wantFault(t, got[1].Err, fault.Retry, false); mark.After < 40*time.Second || got[1].Code != "ApplicationThrottled" || !strings.Contains(got[1].Err.Error(), "whole-1") {
		t.Errorf("the throttled part: after %v, %v", mark.After, got[1].Err)
	}
	if _, wait, ok := w.TakeSlot(t.Context(), "me"); ok || wait < 39*time.Second {
		t.Errorf("slot %v after %v; the mailbox is not parked", ok, wait)
	}
	if release, _, ok := w.TakeSlot(t.Context(), "ann@contoso.com"); !ok {
		t.Error("another mailbox is parked, too")
	} else {
		release()
	}
}

func TestABatchWithoutSlotsIsNotSent(t *testing.T) {
	t.Parallel()
	var called atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		called.Add(1)
		envelope(t, rw, r, func(id string) string { return part(id, 200, "", `{}`) })
	}, nil)
	for held, want := range []int{1, 1, 2, 3, 20} { // the most that may go out
		var releases []func()
		for range held {
			release, err := w.Acquire(t.Context(), "me")
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		before := called.Load()
		if want < 20 {
			_, err := w.Batch(t.Context(), "me", messages(want+1))
			if mark := wantFault(t, err, fault.Retry, false); mark.Code != "slot_lost" || called.Load() != before {
				t.Errorf("%d requests in %d slots: %v", want+1, held, err)
			}
		}
		if _, err := w.Batch(t.Context(), "me", messages(want)); err != nil || called.Load() != before+1 {
			t.Errorf("%d requests in %d slots: %v", want, held, err)
		}
		for _, release := range releases {
			release()
		}
	}
}

func TestEachPartCountsInTheWindow(t *testing.T) {
	t.Parallel()
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		envelope(t, rw, r, func(id string) string { return part(id, 200, "", `{}`) })
	}, func(o *graph.Options) { o.Limits.Requests, o.Limits.RequestWindow = 30, time.Hour })
	if _, err := batch(t, w, "me", messages(20)); err != nil {
		t.Fatal(err)
	}
	_, err := batch(t, w, "me", messages(11))
	if mark := wantFault(t, err, fault.Retry, false); mark.Code != "request_window" || mark.After <= 0 {
		t.Errorf("31 requests in a window of 30: %v", err)
	}
	if _, err := batch(t, w, "me", messages(10)); err != nil {
		t.Errorf("the refused batch was counted: %v", err)
	}
}

func TestATokenThatThePartsRefuseIsReplaced(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		first := calls.Add(1) == 1
		envelope(t, rw, r, func(id string) string {
			if first {
				return part(id, 401, "", `{"error":{"code":"InvalidAuthenticationToken","message":"old"}}`)
			}
			return part(id, 200, "", `{}`)
		})
	}, nil)
	got, err := batch(t, w, "me", messages(2))
	if err != nil || got[0].Err != nil || got[1].Status != 200 || calls.Load() != 2 || len(w.tokens.rejected) != 1 {
		t.Errorf("%+v, %v, %d calls, rejected %v", got, err, calls.Load(), w.tokens.rejected)
	}
}

func TestAnEnvelopeThatIsNotSoundIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":           ``,
		"no JSON":           `{"responses":[`,
		"one too few":       `{"responses":[` + part("1", 200, "", `{}`) + `]}`,
		"one twice":         `{"responses":[` + part("1", 200, "", `{}`) + "," + part("1", 200, "", `{}`) + `]}`,
		"one once more":     `{"responses":[` + part("1", 200, "", `{}`) + "," + part("2", 200, "", `{}`) + "," + part("1", 200, "", `{}`) + `]}`,
		"an id of nobody":   `{"responses":[` + part("1", 200, "", `{}`) + "," + part("3", 200, "", `{}`) + `]}`,
		"an id that is 0":   `{"responses":[` + part("0", 200, "", `{}`) + "," + part("1", 200, "", `{}`) + `]}`,
		"an id of no kind":  `{"responses":[` + part("1", 200, "", `{}`) + "," + part("x", 200, "", `{}`) + `]}`,
		"a list":            `[]`,
		"a web page":        `<html></html>`,
		"too large by far":  `{"responses":[` + part("1", 200, "", `"`+strings.Repeat("x", 2<<10)+`"`) + "," + part("2", 200, "", `{}`) + `]}`,
		"cut after headers": `{"responses":[{"id":"1","status":200,"headers":{}`,
	} {
		w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(body))
		}, func(o *graph.Options) { o.HTTP.MaxPage = 1 << 10 })
		got, err := batch(t, w, "me", messages(2))
		if mark := wantFault(t, err, fault.Retry, false); got != nil || mark.Code != "bad_body" && mark.Code != "answer_too_large" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestABatchHoldsNothingButReadsOfTheMailbox(t *testing.T) {
	t.Parallel()
	var called atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		called.Add(1)
		envelope(t, rw, r, func(id string) string { return part(id, 200, "", `{}`) })
	}, nil)
	for _, path := range []string{
		"", "/", "..", "../users/bob@contoso.com/messages/AAMk", "messages/../../users", "messages/%2e%2e/x", "$batch",
		"messages/AAMk?$select=id", "messages/AAMk#x", "http://evil.example/messages/AAMk", "sendMail", "//evil.example/x",
		"messages//AAMk", `messages\AAMk`, "messages/..%2Fusers", "messages/AA%2F..", "messages/%2FAA", "messages/AA%2F%2FMk", "messages/AA%252FMk",
	} {
		got, err := w.Batch(t.Context(), "me", []graph.Get{{Path: path}})
		if err != nil || got[0].Err == nil {
			t.Errorf("%q: %+v, %v", path, got, err)
			continue
		}
		wantFault(t, got[0].Err, fault.Poison, false)
	}
	if got, err := w.Batch(t.Context(), "me", []graph.Get{{Path: "messages/AAMk", Headers: map[string]string{"Authorization": "Bearer x"}}}); err != nil || got[0].Err == nil {
		t.Errorf("a header of its own: %+v, %v", got, err)
	}
	_, err := w.Batch(t.Context(), "me", messages(21))
	wantFault(t, err, fault.Poison, false)
	if called.Load() != 0 {
		t.Fatalf("%d requests were made", called.Load())
	}
	if got, err := w.Batch(t.Context(), "me", []graph.Get{{Path: "messages/AA%2FMk%2B1=="}}); err != nil || got[0].Err != nil || called.Load() != 1 {
		t.Errorf("an id with a slash: %+v, %v", got, err)
	}
	if got, err := w.Batch(t.Context(), "me", nil); err != nil || len(got) != 0 {
		t.Errorf("an empty batch: %v, %v", got, err)
	}
}
