package sdktest_test

import (
	"bytes"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func TestMeetingIsForwardedAndDeclined(t *testing.T) {
	t.Parallel()
	w := start(t)
	organizer, guest, third := w.as(ann), w.as(ben), w.as(cleo)
	e, err := organizer.me.Events().Post(t.Context(), meeting("Planning", 1, ben), nil)
	ok(t, err, "create an event")
	guest.arrived(t, "inbox", "Planning")
	theirs := guest.me.Events().ByEventId(value(guest.events(t)[0].GetId()))
	on := users.NewItemEventsItemForwardPostRequestBody()
	on.SetToRecipients([]models.Recipientable{recipient(cleo)})
	ok(t, theirs.Forward().Post(t.Context(), on, nil), "forward")
	third.arrived(t, "inbox", "FW: Planning")

	no := users.NewItemEventsItemDeclinePostRequestBody()
	no.SetSendResponse(new(true))
	ok(t, theirs.Decline().Post(t.Context(), no, nil), "decline")
	organizer.arrived(t, "inbox", "Declined: Planning")
	same(t, "events of the guest", len(guest.events(t)), 0)
	got, err := organizer.me.Events().ByEventId(value(e.GetId())).Get(t.Context(), nil)
	ok(t, err, "get the event")
	for _, a := range got.GetAttendees() {
		if value(a.GetEmailAddress().GetAddress()) == ben {
			same(t, "ben's answer", value(a.GetStatus().GetResponse()), models.DECLINED_RESPONSETYPE)
		}
	}
}

func TestEventAttachment(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	e, err := c.me.Events().Post(t.Context(), meeting("Planning", 1), nil)
	ok(t, err, "create an event")
	at := c.me.Events().ByEventId(value(e.GetId())).Attachments()
	a, err := at.Post(t.Context(), file("agenda.txt", []byte("one, two")), nil)
	ok(t, err, "attach")
	got, err := at.ByAttachmentId(value(a.GetId())).Get(t.Context(), nil)
	ok(t, err, "get")
	f, is := got.(models.FileAttachmentable)
	if !is || !bytes.Equal(f.GetContentBytes(), []byte("one, two")) {
		t.Errorf("the attachment came back as %T", got)
	}
	ok(t, at.ByAttachmentId(value(a.GetId())).Delete(t.Context(), nil), "delete")
	list, err := at.Get(t.Context(), nil)
	ok(t, err, "list")
	same(t, "attachments", len(list.GetValue()), 0)
}

func TestItemAttachment(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	id := c.draft(t, "With a mail in it", ben)
	in := models.NewItemAttachment()
	in.SetName(new("The other mail"))
	in.SetItem(mail("Inside", cleo))
	_, err := c.me.Messages().ByMessageId(id).Attachments().Post(t.Context(), in, nil)
	ok(t, err, "attach a mail")
	list, err := c.me.Messages().ByMessageId(id).Attachments().Get(t.Context(), nil)
	ok(t, err, "list")
	same(t, "attachments", len(list.GetValue()), 1)
	got, err := c.me.Messages().ByMessageId(id).Attachments().ByAttachmentId(value(list.GetValue()[0].GetId())).Get(t.Context(),
		&users.ItemMessagesItemAttachmentsAttachmentItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMessagesItemAttachmentsAttachmentItemRequestBuilderGetQueryParameters{Expand: []string{"microsoft.graph.itemAttachment/item"}},
		})
	ok(t, err, "get with its item")
	item, is := got.(models.ItemAttachmentable)
	if !is {
		t.Fatalf("the attachment is a %T", got)
	}
	inner, is := item.GetItem().(models.Messageable)
	if !is {
		t.Fatalf("the item is a %T", item.GetItem())
	}
	same(t, "subject", value(inner.GetSubject()), "Inside")
}
