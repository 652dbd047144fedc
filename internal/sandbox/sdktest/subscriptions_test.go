package sdktest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
)

// notification is one entry of what Graph posts to a listener.
type notification struct {
	SubscriptionID string `json:"subscriptionId"`
	ChangeType     string `json:"changeType"`
	ClientState    string `json:"clientState"`
	TenantID       string `json:"tenantId"`
	Resource       string `json:"resource"`
	ResourceData   struct {
		Type string `json:"@odata.type"`
		ID   string `json:"id"`
	} `json:"resourceData"`
}

// listener takes notifications.
type listener struct {
	url string

	mu        sync.Mutex
	got       []notification
	validated int
}

// listen starts a listener; a deaf one answers the handshake wrongly.
func listen(t *testing.T, deaf bool) *listener {
	t.Helper()
	l := &listener{}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if token := r.URL.Query().Get("validationToken"); token != "" {
			l.validated++
			rw.Header().Set("Content-Type", "text/plain")
			if deaf {
				token = "something else"
			}
			_, _ = rw.Write([]byte(token))
			return
		}
		var in struct {
			Value []notification `json:"value"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Errorf("a notification that is no JSON: %v", err)
		}
		l.got = append(l.got, in.Value...)
		rw.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	l.url = s.URL
	return l
}

// handshakes counts the validations that were asked for.
func (l *listener) handshakes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.validated
}

// of lists what came for a subscription.
func (l *listener) of(subscription string) []notification {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []notification
	for _, n := range l.got {
		if n.SubscriptionID == subscription {
			list = append(list, n)
		}
	}
	return list
}

func subscription(l *listener, state string) *models.Subscription {
	s := models.NewSubscription()
	s.SetChangeType(new("created"))
	s.SetNotificationUrl(new(l.url + "/notifications"))
	s.SetResource(new("me/mailFolders('Inbox')/messages"))
	s.SetExpirationDateTime(new(time.Now().Add(time.Hour)))
	s.SetClientState(&state)
	return s
}

func TestSubscriptionTellsOfNewMail(t *testing.T) {
	t.Parallel()
	w := start(t)
	l := listen(t, false)
	c := w.as(ann)
	made, err := c.Subscriptions().Post(t.Context(), subscription(l, "a secret"), nil)
	ok(t, err, "subscribe")
	same(t, "handshakes", l.handshakes(), 1)
	id := value(made.GetId())
	at := c.Subscriptions().BySubscriptionId(id)

	w.deliver(ann, "Good morning")
	eventually(t, "a notification comes", func() bool { return len(l.of(id)) > 0 })
	n := l.of(id)[0]
	same(t, "change", n.ChangeType, "created")
	same(t, "client state", n.ClientState, "a secret")
	same(t, "tenant", n.TenantID, w.TenantID())
	same(t, "type", strings.ToLower(n.ResourceData.Type), "#microsoft.graph.message")
	m, err := c.me.Messages().ByMessageId(n.ResourceData.ID).Get(t.Context(), nil)
	ok(t, err, "get what the notification names")
	same(t, "subject", value(m.GetSubject()), "Good morning")

	longer := models.NewSubscription()
	until := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	longer.SetExpirationDateTime(&until)
	_, err = at.Patch(t.Context(), longer, nil)
	ok(t, err, "renew")
	got, err := at.Get(t.Context(), nil)
	ok(t, err, "get")
	if d := value(got.GetExpirationDateTime()).Sub(until).Abs(); d > time.Second {
		t.Errorf("expires at %v, want %v", value(got.GetExpirationDateTime()), until)
	}
	all, err := c.Subscriptions().Get(t.Context(), nil)
	ok(t, err, "list")
	sameList(t, "subscriptions", names(all.GetValue(), models.Subscriptionable.GetId), id)

	ok(t, at.Delete(t.Context(), nil), "delete")
	if _, err = at.Get(t.Context(), nil); err == nil {
		t.Error("a deleted subscription is still there")
	}
	// A second one tells when the next mail has been told of.
	second, err := c.Subscriptions().Post(t.Context(), subscription(l, "second"), nil)
	ok(t, err, "subscribe again")
	before := len(l.of(id))
	w.deliver(ann, "Good evening")
	eventually(t, "the second notification comes", func() bool { return len(l.of(value(second.GetId()))) > 0 })
	same(t, "notifications of the deleted subscription", len(l.of(id)), before)
}

func TestSubscriptionNeedsTheHandshake(t *testing.T) {
	t.Parallel()
	w := start(t)
	l := listen(t, true)
	c := w.as(ann)
	_, err := c.Subscriptions().Post(t.Context(), subscription(l, "a secret"), nil)
	refused(t, err, http.StatusBadRequest, "ValidationError")
	all, err := c.Subscriptions().Get(t.Context(), nil)
	ok(t, err, "list")
	same(t, "subscriptions", len(all.GetValue()), 0)
}
