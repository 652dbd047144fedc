package graph_test

import (
	"net/http"
	"slices"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/graph"
)

func TestATargetIsTakenOnlyWhereItIsThatOfTheRequest(t *testing.T) {
	t.Parallel()
	var asked []string
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		w.WriteHeader(http.StatusNoContent)
	}, nil)
	remove := graph.Request{
		Operation: operation(t, "mail.message.delete"), Mailbox: "ann@contoso.com", Path: map[string]string{"message-id": "AA/BB+="},
	}
	build := func(id string, p catalog.Params) *catalog.Target {
		t.Helper()
		target, err := operation(t, id).Build(p)
		if err != nil {
			t.Fatal(err)
		}
		return &target
	}
	own := catalog.Params{Mailbox: "ann@contoso.com", Path: map[string]string{"message-id": "AA/BB+="}}
	changed := build("mail.message.delete", own)
	changed.Path = "/users/bob@contoso.com/messages/BBB"
	targets := []*catalog.Target{
		nil,
		build("mail.message.delete", own),
		build("mail.folder.delete", catalog.Params{Mailbox: "ann@contoso.com", Path: map[string]string{"mailFolder-id": "AAA"}}),
		build("mail.message.delete", catalog.Params{Mailbox: "bob@contoso.com", Path: own.Path}),
		build("mail.message.delete", catalog.Params{Mailbox: "ann@contoso.com", Path: map[string]string{"message-id": "BBB"}}),
		changed,
		{Path: "/users/bob@contoso.com/messages/BBB", Template: "/users/{user-id}/messages/{message-id}", Params: own.Path},
		{Path: "//evil.example/"},
	}
	for _, target := range targets {
		request := remove
		request.Target = target
		if _, err := w.Do(t.Context(), request); err != nil {
			t.Errorf("%+v: %v", target, err)
		}
	}
	if want := slices.Repeat([]string{"/v1.0/users/ann@contoso.com/messages/AA%2FBB%2B="}, len(targets)); !slices.Equal(asked, want) {
		t.Errorf("asked for %q", asked)
	}
}
