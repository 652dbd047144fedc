package sdktest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"outlook-connector/internal/sandbox"
)

type messageQuery = users.ItemMessagesRequestBuilderGetQueryParameters

func (c *sdk) messages(tb testing.TB, q messageQuery) (models.MessageCollectionResponseable, error) {
	tb.Helper()
	return c.me.Messages().Get(tb.Context(), &users.ItemMessagesRequestBuilderGetRequestConfiguration{QueryParameters: &q})
}

func subjectsOf(items []models.Messageable) []string {
	return names(items, models.Messageable.GetSubject)
}

func TestPageIteratorSeesEveryMailOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	want := []string{}
	for n := range 50 {
		want = append(want, fmt.Sprintf("mail %02d", n))
	}
	w.deliver(ann, want...)
	c := w.as(ann)
	first, err := c.messages(t, messageQuery{Top: new(int32(12)), Select: []string{"subject", "receivedDateTime"}, Orderby: []string{"receivedDateTime desc"}})
	ok(t, err, "first page")
	same(t, "items of the first page", len(first.GetValue()), 12)
	pages, err := core.NewPageIterator[models.Messageable](first, c.adapter, models.CreateMessageCollectionResponseFromDiscriminatorValue)
	ok(t, err, "page iterator")
	var got, ids []string
	last := time.Now().Add(time.Hour)
	err = pages.Iterate(t.Context(), func(m models.Messageable) bool {
		got, ids = append(got, value(m.GetSubject())), append(ids, value(m.GetId()))
		if m.GetBody() != nil || m.GetFrom() != nil {
			t.Errorf("%s has more than $select asked for", value(m.GetSubject()))
		}
		if received := value(m.GetReceivedDateTime()); received.IsZero() || received.After(last) {
			t.Errorf("%s received at %v, after %v", value(m.GetSubject()), received, last)
		} else {
			last = received
		}
		return true
	})
	ok(t, err, "iterate")
	sameList(t, "subjects", got, want...)
	slices.Sort(ids)
	same(t, "different ids", len(slices.Compact(ids)), 50)
	same(t, "requests", w.calls(http.MethodGet, "/me/messages"), 5)
}

func TestPageIteratorStopsAndGoesOn(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 9 {
		w.deliver(ann, fmt.Sprint("mail ", n))
	}
	c := w.as(ann)
	first, err := c.messages(t, messageQuery{Top: new(int32(4))})
	ok(t, err, "first page")
	pages, err := core.NewPageIterator[models.Messageable](first, c.adapter, models.CreateMessageCollectionResponseFromDiscriminatorValue)
	ok(t, err, "page iterator")
	var got []string
	for range 2 {
		err = pages.Iterate(t.Context(), func(m models.Messageable) bool {
			got = append(got, value(m.GetSubject()))
			return len(got) != 5
		})
		ok(t, err, "iterate")
	}
	slices.Sort(got)
	same(t, "different mails", len(slices.Compact(got)), 9)
}

func TestMailsAreFoundByQuery(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "Bill's offer", "Minutes", "Minutes of May")
	if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, From: "zoe@fabrikam.example", Subject: "Kitchen", Body: "The rutabaga is in."}); err != nil {
		t.Fatal(err)
	}
	c := w.as(ann)
	for _, tt := range []struct {
		name  string
		query messageQuery
		want  []string
	}{
		{"filter equal", messageQuery{Filter: new("subject eq 'Minutes'")}, []string{"Minutes"}},
		{"filter with a quote", messageQuery{Filter: new("subject eq 'Bill''s offer'")}, []string{"Bill's offer"}},
		{"filter starts with", messageQuery{Filter: new("startswith(subject,'Minutes')")}, []string{"Minutes", "Minutes of May"}},
		{"filter on the sender", messageQuery{Filter: new("from/emailAddress/address eq 'zoe@fabrikam.example'")}, []string{"Kitchen"}},
		{"filter on the time", messageQuery{Filter: new("receivedDateTime ge " + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))}, []string{"Bill's offer", "Minutes", "Minutes of May", "Kitchen"}},
		{"filter that finds nothing", messageQuery{Filter: new("isRead eq true")}, nil},
		{"search the body", messageQuery{Search: new(`"rutabaga"`)}, []string{"Kitchen"}},
		{"search the subject", messageQuery{Search: new(`"subject:offer"`)}, []string{"Bill's offer"}},
	} {
		page, err := c.messages(t, tt.query)
		ok(t, err, tt.name)
		sameList(t, tt.name, subjectsOf(page.GetValue()), tt.want...)
	}

	sorted, err := c.messages(t, messageQuery{Orderby: []string{"subject desc"}, Count: new(true), Top: new(int32(2))})
	ok(t, err, "orderby")
	same(t, "by subject", strings.Join(subjectsOf(sorted.GetValue()), ", "), "Minutes of May, Minutes")
	same(t, "@odata.count", value(sorted.GetOdataCount()), 4)

	_, err = c.messages(t, messageQuery{Filter: new("from/emailAddress/address eq 'zoe@fabrikam.example'"), Orderby: []string{"receivedDateTime desc"}})
	refused(t, err, http.StatusBadRequest, "InefficientFilter")
}

func TestOneMailIsRead(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "Good morning")
	c := w.as(ann)
	page, err := c.messages(t, messageQuery{})
	ok(t, err, "list")
	id := value(page.GetValue()[0].GetId())

	m, err := c.me.Messages().ByMessageId(id).Get(t.Context(), nil)
	ok(t, err, "get")
	same(t, "id", value(m.GetId()), id)
	same(t, "subject", value(m.GetSubject()), "Good morning")
	same(t, "from", value(m.GetFrom().GetEmailAddress().GetAddress()), "sender@fabrikam.example")
	same(t, "to", value(m.GetToRecipients()[0].GetEmailAddress().GetAddress()), ann)
	same(t, "read", value(m.GetIsRead()), false)
	if m.GetChangeKey() == nil || m.GetInternetMessageId() == nil || m.GetConversationId() == nil || m.GetParentFolderId() == nil || m.GetWebLink() == nil {
		t.Errorf("something is missing: change key %v, internetMessageId %v, conversation %v, folder %v, link %v",
			m.GetChangeKey(), m.GetInternetMessageId(), m.GetConversationId(), m.GetParentFolderId(), m.GetWebLink())
	}
	same(t, "importance", value(m.GetImportance()), models.NORMAL_IMPORTANCE)

	change := models.NewMessage()
	change.SetIsRead(new(true))
	change.SetCategories([]string{"Blue category"})
	_, err = c.me.Messages().ByMessageId(id).Patch(t.Context(), change, nil)
	ok(t, err, "patch")
	again, err := c.me.Messages().ByMessageId(id).Get(t.Context(), nil)
	ok(t, err, "get again")
	same(t, "read", value(again.GetIsRead()), true)
	sameList(t, "categories", again.GetCategories(), "Blue category")
	if value(again.GetChangeKey()) == value(m.GetChangeKey()) {
		t.Error("the change key did not change")
	}

	text, err := c.me.Messages().ByMessageId(id).Content().Get(t.Context(), nil)
	ok(t, err, "MIME")
	if !strings.Contains(string(text), "Subject: Good morning\r\n") {
		t.Errorf("no subject in the MIME: %s", text)
	}
}
