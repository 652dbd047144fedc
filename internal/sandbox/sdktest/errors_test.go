package sdktest_test

import (
	"net/http"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"outlook-connector/internal/sandbox"
)

func TestErrorsHaveTheirCodes(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	id := c.draft(t, "Short-lived", ben)
	ok(t, c.me.Messages().ByMessageId(id).PermanentDelete().Post(t.Context(), nil), "delete")
	_, err := c.me.Messages().ByMessageId(id).Get(t.Context(), nil)
	refused(t, err, http.StatusNotFound, "ErrorItemNotFound")
	_, err = c.me.Messages().ByMessageId("nonsense").Get(t.Context(), nil)
	refused(t, err, http.StatusBadRequest, "ErrorInvalidIdMalformed")
	refused(t, c.send(t, mail("To nobody"), true), http.StatusBadRequest, "ErrorInvalidRecipients")
	_, err = w.with("nonsense").me.Messages().Get(t.Context(), nil)
	refused(t, err, http.StatusUnauthorized, "InvalidAuthenticationToken")

	token, err := w.Token(ann, "User.Read")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.with(token).me.Messages().Get(t.Context(), nil)
	refused(t, err, http.StatusForbidden, "ErrorAccessDenied")
}

func TestStaleChangeIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	id := c.draft(t, "First", ben)
	old, err := c.me.Messages().ByMessageId(id).Get(t.Context(), nil)
	ok(t, err, "get")
	etag, is := old.GetAdditionalData()["@odata.etag"].(*string)
	if !is {
		t.Fatal("a message has no @odata.etag")
	}
	patch := func(subject string) error {
		m := models.NewMessage()
		m.SetSubject(&subject)
		_, err := c.me.Messages().ByMessageId(id).Patch(t.Context(), m, &users.ItemMessagesMessageItemRequestBuilderPatchRequestConfiguration{Headers: header("If-Match", *etag)})
		return err
	}
	ok(t, patch("Second"), "patch with the right ETag")
	refused(t, patch("Third"), http.StatusPreconditionFailed, "ErrorIrresolvableConflict")
	now, err := c.me.Messages().ByMessageId(id).Get(t.Context(), nil)
	ok(t, err, "get")
	same(t, "subject", value(now.GetSubject()), "Second")
}

func TestTheSDKWaitsAndTriesAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "Good morning")
	c := w.as(ann)
	w.ControlN(sandbox.Match{Method: http.MethodGet, Route: "/me/messages"}, 2, sandbox.FailBefore(http.StatusTooManyRequests, "ApplicationThrottled", "1"))
	page, err := c.me.Messages().Get(t.Context(), nil)
	ok(t, err, "list, third time lucky")
	sameList(t, "subjects", subjectsOf(page.GetValue()), "Good morning")
	same(t, "requests", w.calls(http.MethodGet, "/me/messages"), 3)
	same(t, "requests before Retry-After was over", w.Stats().Offences, 0)
}

func TestTheSDKGivesUpAfterFourTries(t *testing.T) {
	t.Parallel()
	w := start(t)
	rule := w.KeepControl(sandbox.Match{Method: http.MethodPost, Route: "/me/sendMail"}, far(sandbox.FailBefore(http.StatusServiceUnavailable, "ServiceUnavailable", "1")))
	refused(t, w.repeating(ann).send(t, mail("Too late", ben), true), http.StatusServiceUnavailable, "ServiceUnavailable")
	same(t, "tries", rule.Hits(), 4)
	same(t, "mails sent", w.sent("Too late"), 0)
}
