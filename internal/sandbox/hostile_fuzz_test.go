package sandbox_test

import (
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// FuzzAnyRequest throws what the fuzzer finds at one sandbox, as somebody who may
// do everything: go test -fuzz FuzzAnyRequest ./internal/sandbox.
func FuzzAnyRequest(f *testing.F) {
	for _, seed := range [][4]string{
		{http.MethodGet, "/me/messages", "$filter=contains(subject,'a') and not(isRead eq true)&$orderby=subject desc", ""},
		{http.MethodGet, "/me/messages", "$search=\"from:ann (a OR b) received>=2020-01-01\"", ""},
		{http.MethodGet, "/me/messages", "$expand=attachments($select=name),singleValueExtendedProperties($filter=id eq 'String 0x1')", ""},
		{http.MethodGet, "/me/calendarView", "startDateTime=2030-05-01T00:00:00Z&endDateTime=2030-06-30T00:00:00Z", ""},
		{http.MethodGet, "/me/mailFolders('inbox')/messages/delta()", "$filter=receivedDateTime ge 2020-01-01T00:00:00Z", ""},
		{http.MethodPost, "/me/events", "", aSeries},
		{http.MethodPost, "/me/messages", "", withMember(nouns["messages"].create, aSingleValue)},
		{http.MethodPost, "/me/mailFolders/inbox/messageRules", "", nouns["messageRules"].create},
		{http.MethodPost, "/$batch", "", `{"requests":[{"id":"1","method":"GET","url":"/me"},{"id":"2","method":"GET","url":"/me","dependsOn":["1"]}]}`},
		{http.MethodPatch, "/me/mailboxSettings", "", nouns["mailboxSettings"].update},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	s, err := sandbox.New(sandbox.Keep(50))
	if err != nil {
		f.Fatal(err)
	}
	token, err := s.Token(ben, strings.Join(sandbox.AllPermissions(), " "))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		x := &thrower{&walker{world: &world{Sandbox: s, t: t, token: token}}}
		x.throw("fuzz", request{method: method, target: "/" + strings.NewReplacer("?", "", "#", "").Replace(strings.TrimPrefix(path, "/")) + "?" + strings.ReplaceAll(query, " ", "%20"), body: body})
	})
}
