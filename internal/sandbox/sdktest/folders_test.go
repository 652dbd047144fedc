package sdktest_test

import (
	"net/http"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func folder(name string) *models.MailFolder {
	f := models.NewMailFolder()
	f.SetDisplayName(&name)
	return f
}

func TestMailFolders(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "Filed")
	c := w.as(ann)
	folders := c.me.MailFolders()

	parent, err := folders.Post(t.Context(), folder("Projects"), nil)
	ok(t, err, "create a folder")
	_, err = folders.Post(t.Context(), folder("Projects"), nil)
	refused(t, err, http.StatusConflict, "ErrorFolderExists")
	at := folders.ByMailFolderId(value(parent.GetId()))
	child, err := at.ChildFolders().Post(t.Context(), folder("Apollo"), nil)
	ok(t, err, "create a child folder")
	same(t, "parent", value(child.GetParentFolderId()), value(parent.GetId()))

	_, err = folders.ByMailFolderId(value(child.GetId())).Patch(t.Context(), folder("Artemis"), nil)
	ok(t, err, "rename")
	children, err := at.ChildFolders().Get(t.Context(), nil)
	ok(t, err, "list the child folders")
	sameList(t, "child folders", names(children.GetValue(), models.MailFolderable.GetDisplayName), "Artemis")
	parent, err = at.Get(t.Context(), nil)
	ok(t, err, "get the folder")
	same(t, "number of child folders", value(parent.GetChildFolderCount()), 1)

	m := c.arrived(t, "inbox", "Filed")
	to := users.NewItemMessagesItemMovePostRequestBody()
	to.SetDestinationId(child.GetId())
	_, err = c.me.Messages().ByMessageId(value(m.GetId())).Move().Post(t.Context(), to, nil)
	ok(t, err, "move into the child folder")
	full, err := folders.ByMailFolderId(value(child.GetId())).Get(t.Context(), nil)
	ok(t, err, "get the child folder")
	same(t, "mails in it", value(full.GetTotalItemCount()), 1)
	same(t, "unread mails in it", value(full.GetUnreadItemCount()), 1)

	top, err := folders.Get(t.Context(), &users.ItemMailFoldersRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailFoldersRequestBuilderGetQueryParameters{Top: new(int32(100)), Filter: new("displayName eq 'Projects'")},
	})
	ok(t, err, "filter folders")
	sameList(t, "top folders", names(top.GetValue(), models.MailFolderable.GetDisplayName), "Projects")

	ok(t, folders.ByMailFolderId(value(child.GetId())).Delete(t.Context(), nil), "delete the child folder")
	children, err = at.ChildFolders().Get(t.Context(), nil)
	ok(t, err, "list the child folders")
	same(t, "child folders", len(children.GetValue()), 0)
	_, err = folders.ByMailFolderId("inbox").Get(t.Context(), nil)
	ok(t, err, "get the inbox")
	if err := folders.ByMailFolderId("inbox").Delete(t.Context(), nil); err == nil {
		t.Error("the inbox was deleted")
	}
}
