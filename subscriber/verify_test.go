package subscriber

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
)

func TestEveryCollectionHasAnItemPathOrAReason(t *testing.T) {
	t.Parallel()
	params := make(map[string]string)
	checked := 0
	for _, op := range catalog.Default().Operations() {
		modes := op.Modes()
		if len(modes) == 0 || modes[0] == catalog.ModeSingle {
			continue
		}
		checked++
		route, has := itemRoutes[op.ID]
		_, reason := unverifiable[op.ID]
		if has == reason {
			t.Errorf("%s: path %v and reason %v, want one of them", op.ID, has, reason)
		}
		for _, path := range route.paths {
			for segment := range strings.SplitSeq(path, "/") {
				if name, ok := strings.CutPrefix(segment, "{"); ok && name != "id}" {
					params[strings.TrimSuffix(name, "}")] = "X"
				}
			}
			root := "/users/u@contoso.example/"
			if !op.NeedsMailbox() {
				root = "/"
			}
			found := catalog.Default().Match(http.MethodGet, root+expandPath(path, params, "Y"))
			if len(found) == 0 {
				t.Errorf("%s: %s is no path of the reference", op.ID, path)
			}
			for _, one := range found {
				if one.Collection {
					t.Errorf("%s: %s is %s, which is no single item", op.ID, path, one.ID)
				}
			}
		}
	}
	if len(itemRoutes)+len(unverifiable) != checked || checked == 0 {
		t.Errorf("%d paths and %d reasons for %d collections", len(itemRoutes), len(unverifiable), checked)
	}
}

func TestItemPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entity, id string
		params     map[string]string
		want       string
	}{
		{"mail.message.delta", "AAMk=", map[string]string{"mailFolder-id": "inbox"}, "messages/AAMk="},
		{"mail.message.delta", "a/b?c#d e", nil, "messages/a%2Fb%3Fc%23d%20e"},
		{"mail.message.delta", "..", nil, ""},
		{"mail.message.delta", "", nil, ""},
		{"todo.task.delta", "T", map[string]string{"todoTaskList-id": "L"}, "todo/lists/L/tasks/T"},
		{"todo.task.delta", "T", map[string]string{"TodoTaskListId": "L"}, "todo/lists/L/tasks/T"},
		{"todo.task.delta", "T", map[string]string{"id": "L"}, "todo/lists/L/tasks/T"},
		{"todo.task.delta", "T", nil, ""},
		{"calendar.calendarPermission.list", "P", nil, "calendar/calendarPermissions/P"},
		{"calendar.calendarPermission.list", "P", map[string]string{"event-id": "E"}, "events/E/calendar/calendarPermissions/P"},
		{"people.person.list", "P", nil, ""},
	} {
		if got := itemPath(operation(t, c.entity), c.params, c.id); got != c.want {
			t.Errorf("%s %q %v: %q, want %q", c.entity, c.id, c.params, got, c.want)
		}
	}
}

// looker makes a verifier of deleted messages.
func looker(t fataler, box *fakeMailbox) *verifier {
	t.Helper()
	return &verifier{
		fetch: &fetcher{items: box, slots: box, client: "c", mailbox: "me", headers: map[string]string{
			"Prefer": `IdType="ImmutableId"`, "X-MS-Throttle-Priority": "High",
		}},
		budget: new(budget), op: operation(t, "mail.message.delta"),
	}
}

func entriesOf(n int) []index.Entry {
	entries := make([]index.Entry, n)
	for i := range entries {
		entries[i].ID = fmt.Sprintf("m%03d", i)
	}
	return entries
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		got  Got
		want verdict
	}{
		"gone":                {gone(), verdict{Known: true, Gone: true}},
		"folder gone":         {refused(404, "ErrorFolderNotFound", fault.Poison), verdict{Known: true, Gone: true}},
		"elsewhere":           {found(`{"id":"m000","parentFolderId":"F2"}`), verdict{Known: true, Folder: "F2"}},
		"there, no folder":    {found(`{"@odata.context":"x","id":"m000"}`), verdict{Known: true}},
		"mailbox away":        {refused(404, "MailboxNotEnabledForRESTAPI", fault.Poison), verdict{}},
		"user unknown":        {refused(404, "ErrorInvalidUser", fault.Poison), verdict{}},
		"404 of a proxy":      {refused(404, "", fault.Retry), verdict{}},
		"denied":              {refused(403, "ErrorAccessDenied", fault.Poison), verdict{}},
		"denied as not found": {refused(403, "ErrorItemNotFound", fault.Poison), verdict{}},
		"throttled":           {refused(429, "ApplicationThrottled", fault.Retry), verdict{}},
		"broken":              {refused(503, "ErrorServerBusy", fault.Retry), verdict{}},
		"no JSON":             {found(`<html>`), verdict{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := newFakeMailbox(t)
			box.answers["messages/m000"] = c.got
			verdicts, err := looker(t, box).verify(t.Context(), entriesOf(1))
			if err != nil || verdicts[0] != c.want {
				t.Errorf("verdict %+v, %v, want %+v", verdicts[0], err, c.want)
			}
			get := box.batches[0][0]
			if get.Query["$select"] != "id,parentFolderId" || get.Headers["Prefer"] != `IdType="ImmutableId"` || get.Headers["x-ms-throttle-priority"] != "Low" || len(get.Headers) != 2 {
				t.Errorf("asked with %v and %v", get.Query, get.Headers)
			}
			box.idle()
		})
	}
}

func TestVerdictsStandAtTheirEntries(t *testing.T) {
	t.Parallel()
	for free := 1; free <= 5; free++ {
		box := newFakeMailbox(t)
		box.free = free
		entries := entriesOf(47)
		entries[3].ID = ".." // has no path
		for i := range entries {
			if i%3 == 0 {
				box.answers["messages/"+entries[i].ID] = found(fmt.Sprintf(`{"id":%q,"parentFolderId":"F%d"}`, entries[i].ID, i))
			}
		}
		verdicts, err := looker(t, box).verify(t.Context(), entries)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range verdicts {
			want := verdict{Known: true, Gone: true}
			switch {
			case i == 3:
				want = verdict{}
			case i%3 == 0:
				want = verdict{Known: true, Folder: fmt.Sprintf("F%d", i)}
			}
			if got != want {
				t.Errorf("%d slots: entry %d has %+v, want %+v", free, i, got, want)
			}
		}
		most := 0
		for _, gets := range box.batches {
			most = max(most, len(gets))
		}
		if want := room(free); most != want {
			t.Errorf("batches of up to %d in %d slots, want %d", most, free, want)
		}
		box.idle()
	}
}

func TestVerificationYields(t *testing.T) {
	t.Parallel()
	t.Run("to a busy mailbox", func(t *testing.T) {
		t.Parallel()
		box := newFakeMailbox(t)
		box.free = 0
		verdicts, err := looker(t, box).verify(t.Context(), entriesOf(2))
		if err != nil || slices.Contains(verdicts, verdict{Known: true, Gone: true}) || len(box.batches) > 0 {
			t.Errorf("%+v, %v after %d batches", verdicts, err, len(box.batches))
		}
	})
	t.Run("to a mailbox that throttles", func(t *testing.T) {
		t.Parallel()
		box := newFakeMailbox(t)
		entries := entriesOf(60)
		box.answers["messages/m021"] = refused(429, "ApplicationThrottled", fault.Retry)
		verdicts, err := looker(t, box).verify(t.Context(), entries)
		if err != nil || len(box.batches) != 2 || verdicts[21].Known || !verdicts[22].Known || verdicts[40].Known {
			t.Errorf("%d batches after a 429 in the second, %v", len(box.batches), err)
		}
	})
	t.Run("to a batch that fails", func(t *testing.T) {
		t.Parallel()
		box := newFakeMailbox(t)
		box.fail = func(path string) error {
			if path == "$batch" && len(box.batches) == 2 {
				return fault.New(fault.Retry, "502")
			}
			return nil
		}
		verdicts, err := looker(t, box).verify(t.Context(), entriesOf(60))
		if err != nil || !verdicts[19].Known || verdicts[20].Known || verdicts[59].Known || len(box.batches) != 2 {
			t.Errorf("%d batches, %v", len(box.batches), err)
		}
		box.idle()
	})
	t.Run("to its end", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		box := newFakeMailbox(t)
		if _, err := looker(t, box).verify(ctx, entriesOf(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestVerificationStopsAtTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newFakeMailbox(t)
		v := looker(t, box)
		count := func(n int) (known int) {
			verdicts, err := v.verify(t.Context(), entriesOf(n))
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range verdicts {
				if one.Known {
					known++
				}
			}
			return known
		}
		if n := count(2 * verifyBurst); n != verifyBurst {
			t.Errorf("%d at once, want %d", n, verifyBurst)
		}
		if n := count(10); n != 0 {
			t.Errorf("%d from an empty budget", n)
		}
		time.Sleep(verifyWindow / 2)
		if n, want := count(1000), (verifyMost-verifyBurst)/2; n < want-1 || n > want {
			t.Errorf("%d after half a window, want %d", n, want)
		}
		v.fetch.mailbox = "other"
		if n := count(10); n != 10 {
			t.Errorf("another mailbox gets %d of 10", n)
		}
	})
}

func TestNoWindowHasMoreThanATenth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type spent struct {
			at time.Time
			n  int
		}
		var all []spent
		b, now := new(budget), time.Unix(1e9, 0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(verifyWindow/2)).Draw(t, "wait")))
			wish := rapid.IntRange(1, 800).Draw(t, "wish")
			n := b.takeAt(now, "c", "ME", wish)
			if n < 0 || n > wish {
				t.Fatalf("%d of %d", n, wish)
			}
			all = append(all, spent{now, n})
		}
		for i := range all {
			sum := 0
			for _, s := range all[i:] {
				if s.at.Sub(all[i].at) <= verifyWindow {
					sum += s.n
				}
			}
			if sum > verifyMost {
				t.Fatalf("%d within a window", sum)
			}
		}
		b.takeAt(now.Add(2*verifyWindow), "c", "other", 1)
		if len(b.buckets) != 1 {
			t.Fatalf("%d buckets, of which one is in use", len(b.buckets))
		}
	})
}
