package sdktest_test

import (
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	c := start(t).as(ann)
	me, err := c.me.Get(t.Context(), nil)
	ok(t, err, "me")
	same(t, "me", value(me.GetUserPrincipalName()), ann)
	page, err := c.Users().Get(t.Context(), &users.UsersRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UsersRequestBuilderGetQueryParameters{Select: []string{"userPrincipalName"}, Filter: new("startswith(displayName,'Ben')")},
	})
	ok(t, err, "users")
	sameList(t, "users", names(page.GetValue(), models.Userable.GetUserPrincipalName), ben)
	one, err := c.Users().ByUserId(ben).Get(t.Context(), nil)
	ok(t, err, "one user")
	same(t, "mail", value(one.GetMail()), ben)
}

func TestGroupConversation(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	at := c.Groups().ByGroupId(w.Groups()[0].ID)
	post := models.NewPost()
	post.SetBody(body("Who brings the cake?"))
	thread := models.NewConversationThread()
	thread.SetTopic(new("Birthday"))
	thread.SetPosts([]models.Postable{post})
	made, err := at.Threads().Post(t.Context(), thread, nil)
	ok(t, err, "create a thread")
	answer := models.NewPost()
	answer.SetBody(body("I do."))
	in := groups.NewItemThreadsItemReplyPostRequestBody()
	in.SetPost(answer)
	ok(t, at.Threads().ByConversationThreadId(value(made.GetId())).Reply().Post(t.Context(), in, nil), "reply")
	posts, err := at.Threads().ByConversationThreadId(value(made.GetId())).Posts().Get(t.Context(), nil)
	ok(t, err, "posts")
	same(t, "posts", len(posts.GetValue()), 2)
	talks, err := at.Conversations().Get(t.Context(), nil)
	ok(t, err, "conversations")
	found := false
	for _, talk := range talks.GetValue() {
		found = found || value(talk.GetTopic()) == "Birthday"
	}
	same(t, "the new conversation is listed", found, true)
}
