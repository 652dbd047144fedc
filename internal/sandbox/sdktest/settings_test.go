package sdktest_test

import (
	"strings"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func TestMailboxSettings(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	reply := models.NewAutomaticRepliesSetting()
	reply.SetStatus(new(models.ALWAYSENABLED_AUTOMATICREPLIESSTATUS))
	reply.SetInternalReplyMessage(new("I am away."))
	in := models.NewMailboxSettings()
	in.SetTimeZone(new("W. Europe Standard Time"))
	in.SetAutomaticRepliesSetting(reply)
	_, err := c.me.MailboxSettings().Patch(t.Context(), in, nil)
	ok(t, err, "patch")
	got, err := c.me.MailboxSettings().Get(t.Context(), nil)
	ok(t, err, "get")
	same(t, "time zone", value(got.GetTimeZone()), "W. Europe Standard Time")
	same(t, "automatic replies", value(got.GetAutomaticRepliesSetting().GetStatus()), models.ALWAYSENABLED_AUTOMATICREPLIESSTATUS)
	if !strings.Contains(value(got.GetAutomaticRepliesSetting().GetInternalReplyMessage()), "I am away.") {
		t.Errorf("reply: %q", value(got.GetAutomaticRepliesSetting().GetInternalReplyMessage()))
	}
	if got.GetWorkingHours() == nil || len(got.GetWorkingHours().GetDaysOfWeek()) == 0 || got.GetWorkingHours().GetStartTime() == nil {
		t.Errorf("working hours: %v", got.GetWorkingHours())
	}
}

func TestCategories(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	categories := c.me.Outlook().MasterCategories()
	in := models.NewOutlookCategory()
	in.SetDisplayName(new("Project Apollo"))
	in.SetColor(new(models.PRESET9_CATEGORYCOLOR))
	made, err := categories.Post(t.Context(), in, nil)
	ok(t, err, "create")
	at := categories.ByOutlookCategoryId(value(made.GetId()))
	change := models.NewOutlookCategory()
	change.SetColor(new(models.PRESET3_CATEGORYCOLOR))
	_, err = at.Patch(t.Context(), change, nil)
	ok(t, err, "patch")
	list, err := categories.Get(t.Context(), nil)
	ok(t, err, "list")
	found := map[string]models.CategoryColor{}
	for _, one := range list.GetValue() {
		found[value(one.GetDisplayName())] = value(one.GetColor())
	}
	same(t, "colour", found["Project Apollo"], models.PRESET3_CATEGORYCOLOR)
	ok(t, at.Delete(t.Context(), nil), "delete")
	if _, err := at.Get(t.Context(), nil); err == nil {
		t.Error("a deleted category is still there")
	}
}

func TestOpenExtension(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	at := c.me.Messages().ByMessageId(c.draft(t, "With an extension", ben))
	in := models.NewOpenTypeExtension()
	in.SetExtensionName(new("com.contoso.order"))
	in.SetAdditionalData(map[string]any{"number": "4711", "paid": true})
	_, err := at.Extensions().Post(t.Context(), in, nil)
	ok(t, err, "create")
	got, err := at.Extensions().ByExtensionId("com.contoso.order").Get(t.Context(), nil)
	ok(t, err, "get")
	number, _ := got.GetAdditionalData()["number"].(*string)
	paid, _ := got.GetAdditionalData()["paid"].(*bool)
	same(t, "number", value(number), "4711")
	same(t, "paid", value(paid), true)
	open, is := got.(models.OpenTypeExtensionable)
	if !is {
		t.Fatalf("the extension is a %T", got)
	}
	same(t, "name", value(open.GetExtensionName()), "com.contoso.order")

	m, err := at.Get(t.Context(), &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Expand: []string{"extensions($filter=id eq 'com.contoso.order')"}},
	})
	ok(t, err, "get the message with its extension")
	same(t, "extensions", len(m.GetExtensions()), 1)

	change := models.NewOpenTypeExtension()
	change.SetAdditionalData(map[string]any{"number": "4712"})
	_, err = at.Extensions().ByExtensionId("com.contoso.order").Patch(t.Context(), change, nil)
	ok(t, err, "patch")
	got, err = at.Extensions().ByExtensionId("com.contoso.order").Get(t.Context(), nil)
	ok(t, err, "get again")
	number, _ = got.GetAdditionalData()["number"].(*string)
	same(t, "number", value(number), "4712")
	ok(t, at.Extensions().ByExtensionId("com.contoso.order").Delete(t.Context(), nil), "delete")
	if _, err := at.Extensions().ByExtensionId("com.contoso.order").Get(t.Context(), nil); err == nil {
		t.Error("a deleted extension is still there")
	}
}

func TestExtendedPropertyFindsTheMail(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	const key = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Key"
	p := models.NewSingleValueLegacyExtendedProperty()
	p.SetId(new(key))
	p.SetValue(new("k-4711"))
	m := mail("With a key", ben)
	m.SetSingleValueExtendedProperties([]models.SingleValueLegacyExtendedPropertyable{p})
	made, err := c.me.Messages().Post(t.Context(), m, nil)
	ok(t, err, "create")
	c.draft(t, "Without a key", ben)

	got, err := c.me.Messages().ByMessageId(value(made.GetId())).Get(t.Context(), &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Expand: []string{"singleValueExtendedProperties($filter=id eq '" + key + "')"}},
	})
	ok(t, err, "get")
	same(t, "properties", len(got.GetSingleValueExtendedProperties()), 1)
	same(t, "value", value(got.GetSingleValueExtendedProperties()[0].GetValue()), "k-4711")

	page, err := c.messages(t, messageQuery{Filter: new("singleValueExtendedProperties/Any(ep: ep/id eq '" + key + "' and ep/value eq 'k-4711')")})
	ok(t, err, "filter")
	sameList(t, "found", subjectsOf(page.GetValue()), "With a key")
}
