package sdktest_test

import (
	"net/http"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
)

func TestMessageRules(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	bills, err := c.me.MailFolders().Post(t.Context(), folder("Bills"), nil)
	ok(t, err, "create a folder")
	when := models.NewMessageRulePredicates()
	when.SetSubjectContains([]string{"invoice"})
	then := models.NewMessageRuleActions()
	then.SetMoveToFolder(bills.GetId())
	then.SetMarkAsRead(new(true))
	then.SetStopProcessingRules(new(true))
	in := models.NewMessageRule()
	in.SetDisplayName(new("Bills"))
	in.SetSequence(new(int32(1)))
	in.SetIsEnabled(new(true))
	in.SetConditions(when)
	in.SetActions(then)
	rules := c.me.MailFolders().ByMailFolderId("inbox").MessageRules()
	made, err := rules.Post(t.Context(), in, nil)
	ok(t, err, "create a rule")
	at := rules.ByMessageRuleId(value(made.GetId()))

	w.deliver(ann, "Your invoice of May", "Minutes")
	sameList(t, "inbox", subjectsOf(c.in(t, "inbox")), "Minutes")
	moved := c.in(t, value(bills.GetId()))
	sameList(t, "bills", subjectsOf(moved), "Your invoice of May")
	same(t, "read", value(moved[0].GetIsRead()), true)

	off := models.NewMessageRule()
	off.SetIsEnabled(new(false))
	_, err = at.Patch(t.Context(), off, nil)
	ok(t, err, "switch it off")
	got, err := at.Get(t.Context(), nil)
	ok(t, err, "get")
	same(t, "enabled", value(got.GetIsEnabled()), false)
	sameList(t, "condition", got.GetConditions().GetSubjectContains(), "invoice")
	w.deliver(ann, "Your invoice of June")
	sameList(t, "inbox", subjectsOf(c.in(t, "inbox")), "Minutes", "Your invoice of June")

	list, err := rules.Get(t.Context(), nil)
	ok(t, err, "list")
	sameList(t, "rules", names(list.GetValue(), models.MessageRuleable.GetDisplayName), "Bills")
	ok(t, at.Delete(t.Context(), nil), "delete")
	_, err = at.Get(t.Context(), nil)
	refused(t, err, http.StatusNotFound, "ErrorItemNotFound")
}

func TestFocusedInboxOverrides(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	overrides := c.me.InferenceClassification().Overrides()
	in := models.NewInferenceClassificationOverride()
	in.SetClassifyAs(new(models.OTHER_INFERENCECLASSIFICATIONTYPE))
	in.SetSenderEmailAddress(recipient("sender@fabrikam.example").GetEmailAddress())
	made, err := overrides.Post(t.Context(), in, nil)
	ok(t, err, "create")
	w.deliver(ann, "News")
	same(t, "class of a new mail", value(c.arrived(t, "inbox", "News").GetInferenceClassification()), models.OTHER_INFERENCECLASSIFICATIONTYPE)
	change := models.NewInferenceClassificationOverride()
	change.SetClassifyAs(new(models.FOCUSED_INFERENCECLASSIFICATIONTYPE))
	_, err = overrides.ByInferenceClassificationOverrideId(value(made.GetId())).Patch(t.Context(), change, nil)
	ok(t, err, "patch")
	list, err := overrides.Get(t.Context(), nil)
	ok(t, err, "list")
	same(t, "overrides", len(list.GetValue()), 1)
	same(t, "class", value(list.GetValue()[0].GetClassifyAs()), models.FOCUSED_INFERENCECLASSIFICATIONTYPE)
	ok(t, overrides.ByInferenceClassificationOverrideId(value(made.GetId())).Delete(t.Context(), nil), "delete")
	list, err = overrides.Get(t.Context(), nil)
	ok(t, err, "list again")
	same(t, "overrides", len(list.GetValue()), 0)
}
