package worker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outlook-connector/config"
	"outlook-connector/internal/sandbox"
)

// TestFoldersAndMembersAreFollowed runs one worker against the sandbox: mails in
// folders that patterns name, contacts of all folders, and the mailboxes of the
// users that a filter finds.
func TestFoldersAndMembersAreFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, other := w.hand(ann), w.hand(ben)
	projects := h.make("/me/mailFolders", `{"displayName":"Projects"}`)
	a := h.make("/me/mailFolders/"+projects+"/childFolders", `{"displayName":"A"}`)
	old := h.make("/me/mailFolders/"+projects+"/childFolders", `{"displayName":"Old"}`)
	friends := h.make("/me/contactFolders", `{"displayName":"Friends"}`)
	h.make("/me/contacts", `{"givenName":"default"}`)
	h.make("/me/contactFolders/"+friends+"/contacts", `{"givenName":"friend"}`)
	other.mail("drafts", "draft of ben")

	text := fmt.Sprintf(`
nats: {embedded: {store_dir: ./nats, listen: "127.0.0.1:0"}}
token_store: {path: ./tokens.db, key: "${file:./token.key}"}
clients:
  - {name: contoso, tenant: contoso.example, authorize_url: %q, token_url: %q, base_url: %q, client_id: %q, scopes: [%s]}
subscriptions:
  - {name: mail, client: contoso, entity: mail.message.delta, every: 1s, start: now, folders: [inbox, "projects/**", "!Projects/Old"], query: {$select: "subject,receivedDateTime"}}
  - {name: people, client: contoso, entity: contacts.contact.delta, every: 1s, start: all, folders: ["**"], query: {$select: "givenName"}}
  - {name: team, client: contoso, entity: mail.message.delta, every: 1s, start: all, folders: [drafts], mailboxes: {users: "endsWith(userPrincipalName,'ben@contoso.example')"}, query: {$select: "subject"}}
  - {name: group, client: contoso, entity: mail.message.delta, every: 1s, start: all, path: {mailFolder-id: drafts}, mailboxes: {group: %s}, query: {$select: "subject"}}
http: {listen: %q}
`, w.AuthorizeURL(), w.TokenURL(), w.GraphURL(), sandbox.DefaultClientID, strings.Join(append(everyScope(), "Mail.ReadWrite.Shared", "GroupMember.Read.All"), ", "), w.Groups()[0].ID, freeAddress(t))
	c, err := config.Parse(config.Source{File: filepath.Join(w.dir, "outlook-connector.yaml"), Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	r := w.start(c).ready()
	if _, err := sandbox.SignIn(t.Context(), w.http, r.HTTPURL()+"/oauth/start/contoso", ann); err != nil {
		t.Fatal(err)
	}
	// inbox, Projects, A; the two folders of contacts; ben's drafts; everybody's
	// drafts; five discoveries.
	feeds := 3 + 2 + 1 + len(w.Mailboxes()) + 5
	until(t, fmt.Sprintf("%d feeds", feeds), func() bool { return len(r.Status(t.Context()).Feeds) == feeds })
	r.primed()

	w.deliver("in the inbox")
	h.mail(a, "in a folder")
	h.mail(old, "in a folder that is left out")
	b := h.make("/me/mailFolders/"+a+"/childFolders", `{"displayName":"B"}`)
	h.mail(b, "in a new folder")
	until(t, "the new folder", func() bool { return len(r.Status(t.Context()).Feeds) == feeds+1 })
	h.send(http.MethodPatch, "/me/mailFolders/"+b, "application/json", []byte(`{"displayName":"Renamed"}`))
	h.mail(b, "in a renamed folder")
	other.mail("drafts", "another draft of ben")

	want := []string{
		"group created another draft of ben", "group snapshot draft of ben", "mail created in a folder", "mail created in a new folder", "mail created in a renamed folder", "mail created in the inbox",
		"people snapshot default", "people snapshot friend", "team created another draft of ben", "team snapshot draft of ben",
	}
	var got []string
	for _, e := range r.events(len(want)) {
		var item struct{ Subject, GivenName string }
		if err := json.Unmarshal(e.Data, &item); err != nil {
			t.Fatal(err)
		}
		got = append(got, first(e.Header["Outlook-Subscription"])+" "+first(e.Header["Outlook-Change"])+" "+item.Subject+item.GivenName)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("events\n%q, want\n%q", got, want)
	}
	for _, f := range r.Status(t.Context()).Feeds {
		if f.Error != "" {
			t.Errorf("feed of %s: %s", f.Subscription, f.Error)
		}
	}
}

// mail puts a mail into a folder.
func (h *hand) mail(folder, subject string) string {
	h.t.Helper()
	return h.make("/me/mailFolders/"+folder+"/messages", fmt.Sprintf(`{"subject":%q}`, subject))
}
