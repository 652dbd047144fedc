package sdktest_test

import (
	"errors"
	"net/http"
	"testing"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"outlook-connector/internal/sandbox"
)

// collection is a batch in the making.
type collection struct {
	*core.BatchRequestCollection
	t *testing.T
}

func (b collection) add(info *abstractions.RequestInformation, err error) core.BatchItem {
	b.t.Helper()
	ok(b.t, err, "make a request")
	item, err := b.AddBatchRequestStep(*info)
	ok(b.t, err, "add a request")
	return item
}

// status is the status of one part.
func status(t *testing.T, answer core.BatchResponse, of core.BatchItem) int {
	t.Helper()
	part := answer.GetResponseById(*of.GetId())
	if part == nil {
		t.Fatalf("no answer to part %s", *of.GetId())
	}
	return int(value(part.GetStatus()))
}

// code is the error code of one part.
func code(t *testing.T, answer core.BatchResponse, of core.BatchItem) string {
	t.Helper()
	e, _ := answer.GetResponseById(*of.GetId()).GetBody()["error"].(map[string]any)
	text, _ := e["code"].(*string)
	return value(text)
}

func TestBatchOfIndependentRequests(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "Good morning")
	c := w.as(ann)
	batch := collection{core.NewBatchRequestCollection(c.adapter), t}
	list := batch.add(c.me.MailFolders().ByMailFolderId("inbox").Messages().ToGetRequestInformation(t.Context(), nil))
	create := batch.add(c.me.Messages().ToPostRequestInformation(t.Context(), mail("From a batch", ben), nil))
	fail := batch.add(c.me.Messages().ByMessageId("nonsense").ToGetRequestInformation(t.Context(), nil))
	whole, err := batch.Send(t.Context(), c.adapter)
	ok(t, err, "send the batch")
	same(t, "answers", len(whole.GetResponses()), 3)

	same(t, "status of the list", status(t, whole, list), http.StatusOK)
	inbox, err := core.GetBatchResponseById[models.MessageCollectionResponseable](whole, *list.GetId(), models.CreateMessageCollectionResponseFromDiscriminatorValue)
	ok(t, err, "the list")
	sameList(t, "subjects", subjectsOf(inbox.GetValue()), "Good morning")

	same(t, "status of the create", status(t, whole, create), http.StatusCreated)
	draft, err := core.GetBatchResponseById[models.Messageable](whole, *create.GetId(), models.CreateMessageFromDiscriminatorValue)
	ok(t, err, "the draft")
	got, err := c.me.Messages().ByMessageId(value(draft.GetId())).Get(t.Context(), nil)
	ok(t, err, "read the draft back")
	same(t, "subject", value(got.GetSubject()), "From a batch")

	same(t, "status of the failing part", status(t, whole, fail), http.StatusBadRequest)
	_, err = core.GetBatchResponseById[models.Messageable](whole, *fail.GetId(), models.CreateMessageFromDiscriminatorValue)
	e, is := errors.AsType[*odataerrors.ODataError](err)
	if !is || e.GetErrorEscaped() == nil {
		t.Fatalf("the failing part: %v", err)
	}
	same(t, "code of the failing part", value(e.GetErrorEscaped().GetCode()), "ErrorInvalidIdMalformed")
}

func TestBatchInWhichRequestsDependOnEachOther(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	gone := c.draft(t, "To be deleted", ben)
	batch := collection{core.NewBatchRequestCollection(c.adapter), t}
	first := batch.add(c.me.MailFolders().ToPostRequestInformation(t.Context(), folder("Projects"), nil))
	second := batch.add(c.me.Messages().ByMessageId(gone).ToDeleteRequestInformation(t.Context(), nil))
	second.DependsOnItem(first)
	third := batch.add(c.me.Messages().ByMessageId(gone).ToGetRequestInformation(t.Context(), nil))
	third.DependsOnItem(second)
	fourth := batch.add(c.me.Messages().ToPostRequestInformation(t.Context(), mail("Never made", ben), nil))
	fourth.DependsOnItem(third)
	whole, err := batch.Send(t.Context(), c.adapter)
	ok(t, err, "send the batch")
	same(t, "create a folder", status(t, whole, first), http.StatusCreated)
	same(t, "delete a draft", status(t, whole, second), http.StatusNoContent)
	same(t, "get the deleted draft", status(t, whole, third), http.StatusNotFound)
	same(t, "its code", code(t, whole, third), "ErrorItemNotFound")
	same(t, "what depends on it", status(t, whole, fourth), http.StatusFailedDependency)
	same(t, "drafts", len(c.in(t, "drafts")), 0)
}

func TestBatchWithThrottledPart(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	w.Control(sandbox.Match{Method: http.MethodGet, Route: "/me/mailFolders"}, sandbox.FailBefore(http.StatusTooManyRequests, "ApplicationThrottled", "7"))
	batch := collection{core.NewBatchRequestCollection(c.adapter), t}
	held := batch.add(c.me.MailFolders().ToGetRequestInformation(t.Context(), nil))
	other := batch.add(c.me.Messages().ToGetRequestInformation(t.Context(), nil))
	whole, err := batch.Send(t.Context(), c.adapter)
	ok(t, err, "send the batch")
	same(t, "the throttled part", status(t, whole, held), http.StatusTooManyRequests)
	same(t, "its Retry-After", whole.GetResponseById(*held.GetId()).GetHeaders()["Retry-After"], "7")
	same(t, "the other part", status(t, whole, other), http.StatusOK)
}

func TestBatchOfMoreThanTwentyRequestsIsSplit(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	batch := collection{core.NewBatchRequestCollection(c.adapter), t}
	for range 25 {
		batch.add(c.me.Messages().ToPostRequestInformation(t.Context(), mail("One of many", ben), nil))
	}
	whole, err := batch.Send(t.Context(), c.adapter)
	ok(t, err, "send the batch")
	made := 0
	for _, r := range whole.GetResponses() {
		if value(r.GetStatus()) == http.StatusCreated {
			made++
		}
	}
	same(t, "created", made, 25)
	same(t, "drafts", len(c.in(t, "drafts")), 25)
}
