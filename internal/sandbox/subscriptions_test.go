package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// listener is an address for notifications.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	got    []map[string]any
	posts  int
	refuse int                                                   // so many deliveries answer 503
	greet  func(w http.ResponseWriter, token string) (said bool) // in the place of the right answer
}

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.URL.Query().Get("validationToken"); token != "" {
			if l.greet != nil && l.greet(w, token) {
				return
			}
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, token)
			return
		}
		var body struct {
			Value []map[string]any `json:"value"`
		}
		err := json.NewDecoder(r.Body).Decode(&body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.posts++
		if err != nil || l.refuse > 0 {
			l.refuse--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		l.got = append(l.got, body.Value...)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(l.Close)
	return l
}

// wait returns the first n notifications.
func (l *listener) wait(t *testing.T, n int) []map[string]any {
	t.Helper()
	eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.got) >= n })
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got
}

func subscription(resource, changes string, l *listener, more string) string {
	return fmt.Sprintf(`{"resource":%q,"changeType":%q,"notificationUrl":%q,"clientState":"secret","expirationDateTime":%q%s}`,
		resource, changes, l.URL+"/in", time.Now().Add(time.Hour).UTC().Format(time.RFC3339), more)
}

func TestASubscriptionTellsOfNewChangedAndDeletedMail(t *testing.T) {
	t.Parallel()
	w, l := start(t), listen(t)
	made := w.do(http.MethodPost, "/subscriptions", subscription("me/mailFolders('inbox')/messages", "created,updated,deleted", l, "")).is(201)
	w.deliver(ben, "for another")
	w.deliver(ann, "hello")
	got := l.wait(t, 1)[0]
	id := w.get("/me/messages").is(200).value()[0]["id"]
	data, _ := got["resourceData"].(map[string]any)
	if got["changeType"] != "created" || got["clientState"] != "secret" || got["subscriptionId"] != made.str("id") ||
		got["tenantId"] != w.TenantID() || data["id"] != id || data["@odata.type"] != "#Microsoft.Graph.Message" {
		t.Errorf("notification %v, message %v", got, id)
	}
	w.do(http.MethodPatch, "/me/messages/"+fmt.Sprint(id), `{"isRead":true}`).is(200)
	w.do(http.MethodPost, "/me/messages/"+fmt.Sprint(id)+"/move", `{"destinationId":"archive"}`).is(201)
	all := l.wait(t, 3)
	if all[1]["changeType"] != "updated" || all[2]["changeType"] != "deleted" {
		t.Errorf("then %v and %v", all[1], all[2])
	}
	w.do(http.MethodDelete, "/subscriptions/"+made.str("id"), "").is(204)
	w.get("/subscriptions/"+made.str("id")).is(404, "ResourceNotFound")
	w.deliver(ann, "nobody listens")
	if n := len(l.wait(t, 3)); n != 3 {
		t.Errorf("%d notifications after the subscription's end", n)
	}
}

func TestTheHandshakeDecides(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, greet := range map[string]func(http.ResponseWriter, string) bool{
		"another text": func(w http.ResponseWriter, _ string) bool {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "hello")
			return true
		},
		"another type": func(w http.ResponseWriter, token string) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, token)
			return true
		},
		"202": func(w http.ResponseWriter, _ string) bool { w.WriteHeader(http.StatusAccepted); return true },
	} {
		l := listen(t)
		l.greet = greet
		if r := w.do(http.MethodPost, "/subscriptions", subscription("me/messages", "created", l, "")); r.status != 400 || r.code() != "ValidationError" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	if n := len(w.get("/subscriptions").is(200).value()); n != 0 {
		t.Errorf("%d subscriptions without a handshake", n)
	}
}

func TestSubscriptionsAreRefusedAsGraphRefusesThem(t *testing.T) {
	t.Parallel()
	w, l := start(t), listen(t)
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	with := func(old, fresh string) string {
		s := subscription("me/messages", "created", l, "")
		if !strings.Contains(s, old) {
			t.Fatalf("%s is not in %s", old, s)
		}
		return strings.Replace(s, old, fresh, 1)
	}
	hour := s1(subscription("me/messages", "created", l, ""))
	for _, row := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"an unknown resource", with("me/messages", "me/mailFolders"), 400, "InvalidRequest"},
		{"an unknown change", with(`"created"`, `"born"`), 400, "InvalidRequest"},
		{"an end in the past", with(hour, at(-time.Minute)), 400, "InvalidRequest"},
		{"an end after 8 days", with(hour, at(8*24*time.Hour)), 400, "InvalidRequest"},
		{"a plain address", with(l.URL, "http://connector.example"), 400, "InvalidRequest"},
		{"a long client state", with("secret", strings.Repeat("x", 129)), 400, "InvalidRequest"},
		{"another's mailbox", with("me/messages", "users/"+ben+"/messages"), 403, "ErrorAccessDenied"},
		{"no permission", with("me/messages", "me/events"), 403, "ErrorAccessDenied"},
		{"an unknown property", with(`"clientState"`, `"nope"`), 400, "RequestBodyRead"},
		{"a bad filter", with("me/messages", "me/messages?$filter=nope eq 1"), 400, "RequestBroker--ParseUri"},
		{"an unknown folder", with("me/messages", "me/mailFolders/x/messages"), 400, "ErrorInvalidIdMalformed"},
	} {
		if r := w.do(http.MethodPost, "/subscriptions", row.body); r.status != row.status || r.code() != row.code {
			t.Errorf("%s: %d %s", row.name, r.status, r.raw)
		}
	}
	if l.posts != 0 {
		t.Errorf("%d posts to the listener", l.posts)
	}
}

// s1 is the end in a subscription.
func s1(body string) string {
	_, rest, _ := strings.Cut(body, `"expirationDateTime":"`)
	end, _, _ := strings.Cut(rest, `"`)
	return end
}

func TestASubscriptionIsRenewedAndBelongsToItsMaker(t *testing.T) {
	t.Parallel()
	w, l := start(t), listen(t)
	id := w.do(http.MethodPost, "/subscriptions", subscription("/me/messages?$filter=importance eq 'high'", "created", l, "")).is(201).str("id")
	end := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	if r := w.do(http.MethodPatch, "/subscriptions/"+id, `{"expirationDateTime":"`+end+`"}`).is(200); r.str("expirationDateTime") != end {
		t.Errorf("renewed to %s, want %s", r.str("expirationDateTime"), end)
	}
	w.do(http.MethodPost, "/subscriptions/"+id+"/reauthorize", "").is(204)
	other := w.as(ben, allMail)
	other.get("/subscriptions/" + id).is(404)
	other.do(http.MethodPost, "/subscriptions/"+id+"/reauthorize", "").is(404)
	other.do(http.MethodDelete, "/subscriptions/"+id, "").is(404)
	if n := len(other.get("/subscriptions").is(200).value()); n != 0 {
		t.Errorf("ben sees %d subscriptions of ann", n)
	}
	// The filter holds.
	w.draft("low")
	w.do(http.MethodPost, "/me/messages", `{"subject":"urgent","importance":"high"}`).is(201)
	if got := l.wait(t, 1); len(got) != 1 {
		t.Errorf("%d notifications, want that of the urgent one", len(got))
	}
}

func TestARefusedDeliveryComesAgain(t *testing.T) {
	t.Parallel()
	w, l := start(t), listen(t)
	l.refuse = 1
	w.do(http.MethodPost, "/subscriptions", subscription("me/messages", "created", l, "")).is(201)
	w.deliver(ann, "a")
	if got := l.wait(t, 1); len(got) != 1 || l.posts != 2 {
		t.Errorf("%d notifications in %d posts", len(got), l.posts)
	}
}

func TestLifecycleEventsGoToTheirOwnAddress(t *testing.T) {
	t.Parallel()
	w, l, life := start(t), listen(t), listen(t)
	id := w.do(http.MethodPost, "/subscriptions",
		subscription("me/messages", "created", l, fmt.Sprintf(`,"lifecycleNotificationUrl":%q`, life.URL))).is(201).str("id")
	for _, event := range []string{"reauthorizationRequired", "subscriptionRemoved"} {
		if err := w.SendLifecycle(id, event); err != nil {
			t.Fatal(err)
		}
	}
	got := life.wait(t, 2)
	if got[0]["lifecycleEvent"] != "reauthorizationRequired" || got[1]["lifecycleEvent"] != "subscriptionRemoved" || got[0]["subscriptionId"] != id {
		t.Errorf("lifecycle events %v", got)
	}
	w.get("/subscriptions/" + id).is(404)
	if err := w.SendLifecycle(id, "missed"); err == nil {
		t.Error("a removed subscription was told something")
	}
}

func TestSubscriptionsSurviveAReopening(t *testing.T) {
	t.Parallel()
	l, dir := listen(t), t.TempDir()
	first, err := sandbox.New(sandbox.StoreDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{Sandbox: first, t: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, header: http.Header{}}
	w.as(ann, allMail).do(http.MethodPost, "/subscriptions", subscription("me/messages", "created", l, "")).is(201)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, sandbox.StoreDir(dir))
	again.deliver(ann, "after")
	if got := l.wait(t, 1); got[0]["changeType"] != "created" {
		t.Errorf("notification %v", got)
	}
}
