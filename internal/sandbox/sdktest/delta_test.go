package sdktest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

// round follows a delta round to its end. It returns the items and the link to
// the next round.
func (c *sdk) round(t *testing.T, link string) ([]models.Messageable, string) {
	t.Helper()
	cfg := &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{Headers: header("Prefer", "odata.maxpagesize=3")}
	at := c.me.MailFolders().ByMailFolderId("inbox").Messages().Delta()
	if link != "" {
		at = at.WithUrl(link)
	} else {
		cfg.QueryParameters = &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetQueryParameters{Select: []string{"subject", "isRead"}}
	}
	var items []models.Messageable
	for range 20 {
		page, err := at.GetAsDeltaGetResponse(t.Context(), cfg)
		ok(t, err, "delta")
		if len(page.GetValue()) > 3 {
			t.Fatalf("a page of %d items, though 3 were asked for", len(page.GetValue()))
		}
		items = append(items, page.GetValue()...)
		next, delta := value(page.GetOdataNextLink()), value(page.GetOdataDeltaLink())
		if (next == "") == (delta == "") {
			t.Fatalf("a page must have one link: nextLink %q, deltaLink %q", next, delta)
		}
		if delta != "" {
			return items, delta
		}
		at = at.WithUrl(next)
		cfg.QueryParameters = nil // they live in the link
	}
	t.Fatal("the round does not end")
	return nil, ""
}

func TestMessageDelta(t *testing.T) {
	t.Parallel()
	w := start(t)
	for n := range 8 {
		w.deliver(ann, fmt.Sprint("mail ", n))
	}
	c := w.as(ann)
	items, link := c.round(t, "")
	ids := map[string]string{}
	for _, m := range items {
		ids[value(m.GetSubject())] = value(m.GetId())
	}
	same(t, "different mails of the first round", len(ids), 8)

	items, link = c.round(t, link)
	same(t, "items of a round without a change", len(items), 0)

	w.deliver(ann, "a new one")
	read := models.NewMessage()
	read.SetIsRead(new(true))
	_, err := c.me.Messages().ByMessageId(ids["mail 3"]).Patch(t.Context(), read, nil)
	ok(t, err, "mark as read")
	ok(t, c.me.Messages().ByMessageId(ids["mail 5"]).Delete(t.Context(), nil), "delete")
	to := users.NewItemMessagesItemMovePostRequestBody()
	to.SetDestinationId(new("archive"))
	_, err = c.me.Messages().ByMessageId(ids["mail 6"]).Move().Post(t.Context(), to, nil)
	ok(t, err, "move away")

	items, link = c.round(t, link)
	got := map[string]models.Messageable{}
	for _, m := range items {
		got[value(m.GetId())] = m
	}
	same(t, "changed mails", len(got), 4)
	for subject, gone := range map[string]bool{"mail 3": false, "mail 5": true, "mail 6": true} {
		m := got[ids[subject]]
		if m == nil {
			t.Fatalf("%s is not in the round", subject)
		}
		if _, removed := m.GetAdditionalData()["@removed"]; removed != gone {
			t.Errorf("%s: removed %v, want %v", subject, removed, gone)
		}
		delete(got, ids[subject])
	}
	for _, m := range got {
		same(t, "the new mail", value(m.GetSubject()), "a new one")
	}

	w.ExpireDelta(ann)
	_, err = c.me.MailFolders().ByMailFolderId("inbox").Messages().Delta().WithUrl(link).GetAsDeltaGetResponse(t.Context(), nil)
	refused(t, err, http.StatusGone, "SyncStateNotFound")
}

func TestFolderDelta(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	at := c.me.MailFolders().Delta()
	follow := func() (folders []string) {
		for range 50 {
			page, err := at.GetAsDeltaGetResponse(t.Context(), nil)
			ok(t, err, "delta")
			folders = append(folders, names(page.GetValue(), models.MailFolderable.GetDisplayName)...)
			if page.GetOdataDeltaLink() != nil {
				at = at.WithUrl(value(page.GetOdataDeltaLink()))
				return folders
			}
			at = at.WithUrl(value(page.GetOdataNextLink()))
		}
		t.Fatal("the round does not end")
		return nil
	}
	if got := follow(); len(got) < 5 {
		t.Errorf("the first round has only %q", got)
	}
	parent, err := c.me.MailFolders().Post(t.Context(), folder("Projects"), nil)
	ok(t, err, "create a folder")
	_, err = c.me.MailFolders().ByMailFolderId(value(parent.GetId())).ChildFolders().Post(t.Context(), folder("Apollo"), nil)
	ok(t, err, "create a child folder")
	got := follow()
	for _, name := range []string{"Projects", "Apollo"} {
		found := false
		for _, n := range got {
			found = found || n == name
		}
		if !found {
			t.Errorf("%s is not in the round %q", name, got)
		}
	}
}
